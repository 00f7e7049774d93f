/** The tasks births, doctor and poster: as commands of deno.json, what they refuse, and what they find wrong. */
import { Dcls2d, init, randn } from "../mod.ts";
import { parseCommand } from "../src/train/cli.ts";
import { birthsCommand } from "../src/tasks/births.ts";
import { describeReport, doctorCommand } from "../src/tasks/doctor.ts";
import { adviceFor, type DoctorReport } from "../src/tasks/doctor/examine.ts";
import { posterCommand } from "../src/tasks/poster.ts";
import { compareWithFloat64 } from "../src/tasks/poster/check.ts";
import { formatBytes, formatSeconds, tableLines } from "../src/tasks/terminal.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "./assert.ts";

/** Hides every adapter: a graphics interface that this system does not have. */
const NO_ADAPTER = { DENO_WEBGPU_BACKEND: Deno.build.os === "darwin" ? "dx12" : "metal" };

/** Runs `deno task <name> ...` in a process of its own. */
async function runTask(
  args: string[],
  env: Record<string, string> = {},
): Promise<{ status: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "--quiet", "--config", new URL("../deno.json", import.meta.url).pathname, ...args],
    env: { NO_COLOR: "1", ...env },
  }).output();
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  return { status: code, stdout: text(stdout), stderr: text(stderr) };
}

for (const [name, option] of [["births", "--seeds"], ["doctor", "--json"], ["poster", "--batch"]]) {
  Deno.test(`tasks: ${name} --help, and a flag it does not know`, async () => {
    const help = await runTask([name, "--help"]);
    assertEquals(help.status, 0, help.stderr);
    assertStringIncludes(help.stdout, `Usage: deno task ${name} [options]`);
    assertStringIncludes(help.stdout, option);
    const unknown = await runTask([name, "--bogus"]);
    assertEquals(unknown.status, 2);
    assertStringIncludes(unknown.stderr, "--bogus");
    assertEquals(unknown.stdout, "");
  });
}

Deno.test("tasks: bad values are refused by the flag's name", () => {
  const refuse = (message: string, command: Parameters<typeof parseCommand>[0], ...args: string[]): void => {
    assertThrows(() => parseCommand(command, args), RangeError, message);
  };
  refuse("--steps must be an integer from 1 to 100000", birthsCommand, "--steps", "0");
  refuse("--seeds must be an integer from 1 to 64", birthsCommand, "--seeds", "two");
  refuse("--seed must be an integer from 0", birthsCommand, "--seed", "-1");
  refuse("--out must be a path", birthsCommand, "--out", "");
  refuse("--backend must be one of auto, webgpu, tfjs, reference", birthsCommand, "--backend", "cuda");
  refuse("--batch must be an integer from 1", posterCommand, "--batch", "1.5");
  refuse("--backend must be one of all, webgpu, tfjs", doctorCommand, "--backend", "reference");
  refuse("did you mean --batch?", posterCommand, "--bach", "3");
});

Deno.test("tasks: births writes its picture and figures, and fails where the week was not found", async () => {
  const directory = await Deno.makeTempDir({ prefix: "dcls-births-" });
  try {
    const out = `${directory}/new/births`;
    const { status, stdout, stderr } = await runTask([
      "births",
      "--steps",
      "2",
      "--seeds",
      "2",
      "--out",
      out,
    ]);
    assertEquals(status, 1, stderr);
    assertMatch(stdout, /5844 days to learn from, the 1461 after them to test/);
    assertMatch(
      stdout,
      /seed +start \(days\) +learned lags +test MSE +frozen +ratio +verdict\n +0 .*did not\n +1 .*did not/,
    );
    assertMatch(stdout, /\n0 of 2 runs found the week/);
    assertMatch(
      await Deno.readTextFile(`${out}/lags.svg`),
      /^<svg[^]*Daily births: learned lags[^]*<\/svg>\s*$/,
    );
    const { steps, runs } = JSON.parse(await Deno.readTextFile(`${out}/lags.json`));
    assertEquals([steps, runs.length, runs[1].seed, runs[1].path.at(-1).step], [2, 2, 1, 2]);
    assert(runs.every((run: { learnedError: number }) => run.learnedError > 0));
    const file = await runTask(["births", "--out", `${out}/lags.svg`]);
    assertEquals(file.status, 2);
    assertStringIncludes(file.stderr, `--out must be a directory, got the file ${out}/lags.svg`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test({
  name: "tasks: births stops at the first Ctrl-C with status 130, on a backend that never waits, too",
  ignore: Deno.build.os === "windows", // knows no SIGINT for another process
  fn: async () => {
    const args = ["run", "--allow-read", "--allow-write", "src/tasks/births.ts", "--backend", "reference"];
    const directory = await Deno.makeTempDir({ prefix: "dcls-births-" });
    const child = new Deno.Command(Deno.execPath(), {
      args: [...args, "--steps", "100000", "--out", directory],
      cwd: new URL("..", import.meta.url),
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let said = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      if (!said.includes("step ") && (said + text).includes("step ")) child.kill("SIGINT");
      said += text;
    }
    const { code } = await child.status;
    await Deno.remove(directory, { recursive: true });
    assertEquals(code, 130, said);
    assert(!said.includes("verdict"), said);
  },
});

Deno.test("tasks: doctor --json says everything; its status says whether all is well", async () => {
  const { status, stdout, stderr } = await runTask(["doctor", "--json"]);
  const report: DoctorReport = JSON.parse(stdout);
  assertEquals(status, 0, stdout + stderr);
  assertEquals(report.ok, true);
  assertEquals(report.module.name, "@dcls/dcls");
  assertEquals(report.versions, Deno.version);
  assertEquals(report.system.target, Deno.build.target);
  const { total, available, process } = report.system.memory;
  assert(total >= available && available > 0 && process > 0, JSON.stringify(report.system.memory));
  assertEquals(report.backends.map(({ name }) => name), ["webgpu", "tfjs"]);
  const [webgpu, tfjs] = report.backends;
  assertEquals(report.auto, webgpu.available ? "webgpu" : "tfjs");
  for (const { available, adapter, selfCheck, problem } of [webgpu, tfjs].filter((each) => each.available)) {
    assertEquals([available, selfCheck!.passed, problem], [true, true, null]);
    assert(adapter!.length > 0 && selfCheck!.largestError > 0 && selfCheck!.largestError < 1e-4);
  }
  assert(tfjs.available, "tfjs runs everywhere");
  if (!webgpu.available) return;
  assertEquals(Object.keys(webgpu.features), ["timestamp-query", "shader-f16", "subgroups"]);
  assert(webgpu.limits.maxStorageBufferBindingSize >= 2 ** 27, JSON.stringify(webgpu.limits));
});

Deno.test("tasks: doctor without an adapter names the driver to install; tfjs goes on", async () => {
  const both = await runTask(["doctor"], NO_ADAPTER);
  assertEquals(both.status, 0, both.stdout + both.stderr);
  assertMatch(both.stdout, /webgpu +not available\n +problem .*no WebGPU adapter answers/);
  assertStringIncludes(both.stdout, adviceFor("webgpu", Deno.build.os));
  assertStringIncludes(both.stdout, "init() takes tfjs here");
  const alone = await runTask(["doctor", "--backend", "webgpu", "--json"], NO_ADAPTER);
  assertEquals(alone.status, 1);
  const { ok, auto, backends }: DoctorReport = JSON.parse(alone.stdout);
  assertEquals([ok, auto, backends.length, backends[0].available], [false, null, 1, false]);
});

Deno.test("tasks: doctor has advice for every system", () => {
  assertStringIncludes(adviceFor("webgpu", "linux"), "mesa-vulkan-drivers");
  for (const os of ["darwin", "windows", "freebsd"] as const) assert(adviceFor("webgpu", os).length > 20, os);
  assertStringIncludes(adviceFor("tfjs", "linux"), "--allow-read");
});

Deno.test("tasks: doctor shows a failed self-check as what it is", () => {
  const report: DoctorReport = {
    module: { name: "@dcls/dcls", version: "9.9.9" },
    versions: { deno: "2", v8: "15", typescript: "6" },
    system: {
      target: "t",
      release: "r",
      cores: 8,
      memory: { total: 2 ** 34, available: 2 ** 33, process: 2 ** 27 },
    },
    backends: [{
      name: "webgpu",
      available: true,
      adapter: "Some GPU",
      software: false,
      features: { "timestamp-query": true, "shader-f16": false },
      limits: { maxBufferSize: 2 ** 31 },
      selfCheck: { passed: false, largestError: 0.5, tensor: "output", tolerance: 1e-4, seconds: 1 },
      problem: "wrong numbers: the output is off by 5e-1, allowed 0.0001",
      advice: "update the graphics driver",
    }],
    auto: "webgpu",
    ok: false,
  };
  const text = describeReport(report).join("\n");
  for (
    const part of [
      "16.0 GiB, 8.0 GiB of it free",
      "webgpu   Some GPU\n",
      "timestamp-query yes, shader-f16 no",
      "maxBufferSize 2.0 GiB",
      "problem     wrong numbers",
      "something is wrong",
    ]
  ) assertStringIncludes(text, part);
  assert(!text.includes("passed"), text);
});

Deno.test("tasks: poster agrees with float64 at a small batch", async () => {
  const { status, stdout, stderr } = await runTask(["poster", "--batch", "1", "--input-gradient"]);
  assertEquals(status, 0, stdout + stderr);
  assertMatch(stdout, /\[1, 96, 56, 56\], 1\.1 MiB/);
  assertMatch(stdout, /error of the output +\d\.\de-\d+ \(1000 compared\)\n/);
  assertMatch(stdout, /error of the input gradient +\d\.\de-\d+ \(1000 compared\)\n/);
  assertMatch(stdout, /norm of the P gradient +\d/);
  assertMatch(stdout, /peak memory of the process +\d+(\.\d)? [MG]iB\nall right/);
});

Deno.test("tasks: poster's comparison accepts right numbers and finds each wrong one", async () => {
  await init({ backend: "reference" });
  const options = { kernelCount: 3, dilatedKernelSize: 5, padding: 2, groups: 2, seed: 1, positionStd: 1.5 };
  const layer = new Dcls2d(2, 2, options);
  const x = randn([3, 2, 7, 7], { seed: 2, requiresGrad: true });
  const output = layer.forward(x), loss = output.sum();
  loss.backward();
  const [weight, P, bias] = [layer.weight, layer.P, layer.bias!];
  const setting = { batch: 3, channels: 2, extent: 7, size: 5, padding: 2, kernelCount: 3 };
  const values = {
    input: await x.data(),
    weight: await weight.data(),
    P: await P.data(),
    bias: await bias.data(),
  };
  const right = {
    output: await output.data(),
    sum: await loss.item(),
    weight: await weight.grad!.data(),
    P: await P.grad!.data(),
    bias: await bias.grad!.data(),
    input: await x.grad!.data(),
  };
  const errors = (result: typeof right): Record<string, number> =>
    Object.fromEntries(
      compareWithFloat64({ ...setting, ...values }, result).map(({ name, error }) => [name, error]),
    );
  const names = ["output", "output sum", "weight gradient", "P gradient", "bias gradient", "input gradient"];
  assertEquals(Object.keys(errors(right)), names);
  for (const [name, error] of Object.entries(errors(right))) assert(error < 1e-6, `${name}: ${error}`);
  for (const key of ["output", "weight", "P", "bias", "input"] as const) {
    const wrong = right[key].map((value) => value * 1.01);
    const found = errors({ ...right, [key]: wrong });
    assert(found[key === "output" ? "output" : `${key} gradient`] > 1e-3, `${key}: ${JSON.stringify(found)}`);
    const broken = errors({ ...right, [key]: right[key].map(() => NaN) });
    assertEquals(broken[key === "output" ? "output" : `${key} gradient`], Infinity);
  }
  assert(errors({ ...right, sum: right.sum + 1 })["output sum"] > 1e-3);
});

Deno.test("tasks: tables, sizes and times in words", () => {
  assertEquals(tableLines([["a", "bb"], ["ccc", "d"]], [1]), ["  a  bb", "ccc  d"]);
  assertEquals([0, 1.5 * 2 ** 20, 147 * 2 ** 20, 1.4 * 2 ** 30].map(formatBytes), [
    "0 MiB",
    "1.5 MiB",
    "147 MiB",
    "1.4 GiB",
  ]);
  assertEquals([0.4321, 12.34, 125].map(formatSeconds), ["0.43 s", "12.3 s", "2:05"]);
});
