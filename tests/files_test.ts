/** writeFileAtomic: whatever goes wrong, the previous file is whole and no temporary file stays. */
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "./assert.ts";
import { writeFileAtomic } from "../src/io/files.ts";

/** Runs `body` in a directory of its own, and removes it. */
async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "dcls-files-" });
  try {
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const namesIn = (directory: string): string[] => [...Deno.readDirSync(directory)].map(({ name }) => name);

/** Some tests need a process that dies, or a disk that fills up: they need the right to start one. */
const withoutProcesses = Deno.permissions.querySync({ name: "run", command: "sh" }).state !== "granted" ||
  Deno.build.os === "windows";

/** A process that runs that code, with `writeFileAtomic` imported, in a shell with that limit. */
function startProcess(code: string, limit = "true"): Deno.ChildProcess {
  const module = new URL("../src/io/files.ts", import.meta.url);
  const script = `import { writeFileAtomic } from ${JSON.stringify(module.href)};\n${code}`;
  return new Deno.Command("sh", {
    args: ["-c", `${limit}; exec "$0" eval --no-config "$1"`, Deno.execPath(), script],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

Deno.test("writeFileAtomic: creates, replaces, and leaves nothing else", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/a.bin`;
    await writeFileAtomic(path, Uint8Array.of(1, 2, 3));
    assertEquals(Deno.readFileSync(path), Uint8Array.of(1, 2, 3));
    await writeFileAtomic(path, Uint8Array.of(1, 2, 3, 4).subarray(3));
    assertEquals(Deno.readFileSync(path), Uint8Array.of(4));
    await writeFileAtomic(path, "ü");
    assertEquals(Deno.readTextFileSync(path), "ü");
    await writeFileAtomic(path, new Uint8Array(0));
    assertEquals(Deno.statSync(path).size, 0);
    assertEquals(namesIn(directory), ["a.bin"]);
  }));

Deno.test("writeFileAtomic: many writers at once leave one writer's file", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/a.bin`;
    const contents = Array.from({ length: 8 }, (_, i) => new Uint8Array(10_000).fill(i));
    await Promise.all(contents.map((bytes) => writeFileAtomic(path, bytes)));
    const bytes = Deno.readFileSync(path);
    assertEquals(bytes, contents[bytes[0]]);
    assertEquals(namesIn(directory), ["a.bin"]);
  }));

Deno.test("writeFileAtomic: refuses a directory that is not there, and a directory as file", () =>
  inDirectory(async (directory) => {
    const path = `${directory}/missing/a.bin`;
    const error = await assertRejects(
      () => writeFileAtomic(path, "x"),
      Error,
      `Cannot write ${path}: ENOENT`,
    );
    assertStringIncludes(error.message, "what was there before is unchanged");
    assertInstanceOf(error.cause, Error);
    Deno.mkdirSync(`${directory}/occupied`);
    Deno.writeTextFileSync(`${directory}/occupied/kept`, "kept");
    await assertRejects(() => writeFileAtomic(`${directory}/occupied`, "x"), Error, "Cannot write");
    assertEquals(Deno.readTextFileSync(`${directory}/occupied/kept`), "kept");
    assertEquals(namesIn(directory), ["occupied"], "the temporary file is removed");
  }));

Deno.test({
  name: "writeFileAtomic: a full disk leaves the previous file whole (needs --allow-run=sh)",
  ignore: withoutProcesses,
  fn: () =>
    inDirectory(async (directory) => {
      const path = `${directory}/a.bin`;
      await writeFileAtomic(path, "previous");
      // A limit on file sizes (16 blocks, at most 16 KiB) fails a write midway, as a full disk does.
      const process = startProcess(
        `await writeFileAtomic(${
          JSON.stringify(path)
        }, new Uint8Array(1e6)).catch((e) => console.log(e.message));`,
        "trap '' XFSZ; ulimit -f 16",
      );
      const { stdout } = await process.output();
      assertStringIncludes(new TextDecoder().decode(stdout), `Cannot write ${path}: EFBIG`);
      assertEquals(Deno.readTextFileSync(path), "previous");
      assertEquals(namesIn(directory), ["a.bin"]);
    }),
});

Deno.test({
  name: "writeFileAtomic: a killed process leaves a whole file (needs --allow-run=sh)",
  ignore: withoutProcesses,
  fn: () =>
    inDirectory(async (directory) => {
      const path = `${directory}/a.bin`;
      const size = 32_000_000;
      const code = `console.log("ready");
        for (let i = 1;; i++) await writeFileAtomic(${
        JSON.stringify(path)
      }, new Uint8Array(${size}).fill(i));`;
      for (const delay of [0, 5, 15, 30, 60]) {
        await writeFileAtomic(path, new Uint8Array(size));
        const process = startProcess(code);
        const reader = process.stdout.getReader();
        await reader.read();
        await new Promise((resolve) => setTimeout(resolve, delay));
        process.kill("SIGKILL");
        await process.status;
        await reader.cancel();
        await process.stderr.cancel();
        const bytes = Deno.readFileSync(path);
        assertEquals(bytes.length, size);
        assert(bytes.every((byte) => byte === bytes[0]), `whole after ${delay} ms`);
      }
    }),
});
