/** The bench: its arithmetic, its verification, its timer, its tables, and the command as a user runs it. */
import {
  adapterLines,
  digits,
  halfTable,
  markdownReport,
  opTable,
  targetTable,
  withSection,
} from "../bench/report.ts";
import { BLOCK_OPS, verifyBlock } from "../bench/blocks.ts";
import { caseOn, CASES, costOf, depthwise, OPS, outputExtents } from "../bench/cases.ts";
import { claimLines, drawGrowth, growthTable, markdownSweep } from "../bench/growth.ts";
import { benchCommand } from "../bench/main.ts";
import { interleave, median, percentile } from "../bench/measure.ts";
import { PYTORCH_FIGURES } from "../bench/pytorch.ts";
import { drawData, Subject } from "../bench/subject.ts";
import { describeOp, figureOf, HALF_BACKEND, opsOf, type Row, type SuiteResult } from "../bench/rows.ts";
import { spread, type SweepPoint, sweepSettings } from "../bench/sweep.ts";
import { DeviceTimer, sampleTimes } from "../bench/timed_device.ts";
import { errorOf, HALF_TOLERANCE, outputError, pieceOf, TOLERANCE, verify } from "../bench/verify.ts";
import { currentBackend, init } from "../src/backend.ts";
import { shutdown } from "../mod.ts";
import { parseCommand } from "../src/train/cli.ts";
import { findDevice } from "../src/webgpu/device.ts";
import { NO_WEBGPU } from "./adapter.ts";
import { assert, assertAlmostEquals, assertEquals, assertStringIncludes, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

const SMALL = depthwise(3, 12, 5, 4, { batch: { gpu: 3, cpu: 3 } });
const DENSE = { ...SMALL, name: "dense", groups: 1, outChannels: 2, padding: 0 };
const POSTER = CASES[0];

Deno.test("bench: costs count each tensor once, and the direct algorithm's operations", () => {
  const forward = costOf(POSTER, "convolution", 128);
  assertEquals(forward.flops, 2 * 128 * 96 * 56 * 56 * 289);
  assertEquals(forward.bytes, 4 * (2 * 128 * 96 * 56 * 56 + 96 * 289));
  assertEquals(costOf(POSTER, "convBackward", 2).flops, 2 * costOf(POSTER, "convBackwardInput", 2).flops);
  assertEquals(costOf(DENSE, "convolution", 1).flops, 2 * 2 * 3 * 25 * 8 * 8);
  assertEquals([forward.bound, costOf(DENSE, "convolution", 1).bound], ["memory", "arithmetic"]);
  assertEquals(costOf(DENSE, "constructKernel", 1).bound, "memory");
  assertEquals(outputExtents(DENSE), [8, 8]);
  const half = costOf(POSTER, "convolution", 128, "float16");
  assertEquals([half.flops, half.bytes], [forward.flops, 2 * (2 * 128 * 96 * 56 * 56) + 4 * 96 * 289]);
});

Deno.test("bench: PyTorch's figures name cases and ops that are benched, of the same kind of machine", () => {
  for (const figure of PYTORCH_FIGURES) {
    const benched = CASES.find(({ name }) => name === figure.case);
    assert(benched, figure.case);
    const version = figure.version ?? benched.versions[0];
    for (const op of figure.ops) assert(opsOf(benched, version).includes(op), `${figure.case}: ${op}`);
    const { gpu, cpu } = benched.batch;
    assertEquals(figure.batch, figure.host === "epyc" ? cpu : gpu, figure.case);
  }
  assertEquals(figureOf(POSTER, "layer forward", "gauss", 2, true)?.milliseconds, 204);
  assertEquals(figureOf(POSTER, "layer forward", "gauss", 2, false), undefined); // another batch, another machine
  assertEquals(figureOf(POSTER, "convolution", "v0", 128, false)?.milliseconds, 5.48);
  assertEquals(figureOf(POSTER, "constructKernel", "v0", 128, false), undefined); // known only with its backward
});

Deno.test("bench: names are unique, and only the first version has the convolution's ops", () => {
  assertEquals(new Set(CASES.map(({ name }) => name)).size, CASES.length);
  assertEquals(opsOf(POSTER, "v0"), [...OPS]);
  assert(opsOf(POSTER, "gauss").every((op) => !op.startsWith("conv")));
  assertStringIncludes(describeOp(POSTER, "gauss", "layer forward"), "layer forward gauss 96 x 56²");
});

Deno.test("bench: what is cut for CPUs is named so, and whole on GPUs", () => {
  const cut = CASES.find(({ cpuExtents }) => cpuExtents)!;
  assertEquals(caseOn(cut, false), cut);
  assertEquals(caseOn(cut, true).extents, cut.cpuExtents!);
  assertStringIncludes(caseOn(cut, true).name, cut.cpuExtents!.join(" x "));
  assertEquals(caseOn(POSTER, true), POSTER);
});

Deno.test("bench: median, percentile, significant digits", () => {
  assertEquals([median([3, 1, 2]), median([4, 1, 2, 3])], [2, 2.5]);
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assertEquals([percentile(hundred, 0.99), percentile(hundred, 0.5), percentile([7], 0.99)], [99, 50, 7]);
  assertEquals([1234.5, 123.45, 1.2345, 0.012345, 0, NaN].map(digits), [
    "1235",
    "123",
    "1.23",
    "0.0123",
    "0.00",
    "-",
  ]);
});

Deno.test("bench: pieces are the ranges asked for, errors are relative, and NaN is infinitely wrong", () => {
  const data = Float32Array.from({ length: 24 }, (_, i) => i);
  const { handle, shape } = pieceOf(data, [2, 3, 4], [1, 2], [1, 3]);
  assertEquals(shape, [1, 2, 4]);
  assertEquals([...handle.data], [16, 17, 18, 19, 20, 21, 22, 23]);
  assertEquals([...pieceOf(data, [2, 3, 4]).handle.data], [...data]);
  assertAlmostEquals(errorOf([1, 2.5], [1, 2]), 0.25);
  assertEquals([errorOf([1, NaN], [1, 2]), errorOf([1], [1, 2]), errorOf([0], [0])], [Infinity, Infinity, 0]);
});

testBackends("bench: every op is verified, and a wrong value, plane or gradient is seen", async () => {
  const backend = currentBackend("bench");
  for (const benched of [SMALL, DENSE]) {
    const subject = await Subject.create(backend, benched, "gauss", drawData(benched, 3));
    const before = backend.memory().buffers;
    for (const op of OPS) {
      const result = subject.run(op), made = await result.read();
      const error = await verify(subject, op, made);
      assert(error <= TOLERANCE, `${benched.name}, ${op}: ${error}`);
      for (const [name, values] of Object.entries(made)) {
        const wrong = { ...made, [name]: values.map((value) => 1.01 * value) };
        assert(await verify(subject, op, wrong) > 0.005, `${benched.name}, ${op}: ${name} off by 1 %`);
        const spoilt = { ...made, [name]: values.with(0, NaN) };
        assertEquals(await verify(subject, op, spoilt), Infinity, `${benched.name}, ${op}: NaN in ${name}`);
      }
      result.free();
      assertEquals(backend.memory().buffers, before, `${op} frees what it made`);
    }
    const { output } = await subject.run("convolution").read();
    assert(outputError(benched, subject.data, output.map((value) => value + 1)) > TOLERANCE);
    subject.dispose();
  }
});

testBackends("bench: every op is verified in float16, and off by 1 % is seen", async () => {
  const backend = currentBackend("bench");
  if (!backend.info.dtypes.includes("float16")) return; // WebGPU without shader-f16
  const subject = await Subject.create(backend, SMALL, "v0", drawData(SMALL, 3, "float16"), "float16");
  for (const op of OPS.filter((each) => !each.startsWith("construct"))) {
    const result = subject.run(op), made = await result.read();
    const error = await verify(subject, op, made);
    assert(error <= HALF_TOLERANCE, `${op}: ${error}`);
    const wrong = Object.fromEntries(
      Object.entries(made).map(([name, values]) => [
        name,
        values.map((value) => 1.01 * value),
      ]),
    );
    assert(await verify(subject, op, wrong) > 0.005, op);
    result.free();
  }
  subject.dispose();
}, ["reference", "webgpu"]);

testBackends("bench: both halves of a block are verified, fused and layer by layer", async () => {
  for (const op of BLOCK_OPS) {
    for (const fused of [true, false]) {
      const error = await verifyBlock({ channels: 8, extent: 5 }, 3, op, fused);
      assert(error > 0 && error <= TOLERANCE, `${op}: ${error}`);
    }
  }
}, ["webgpu", "tfjs"]);

Deno.test("bench: float16 stands beside the float32 of the same run", () => {
  const times = { median: 3, min: 3, samples: 1, wall: 4, processor: 6, clock: "wall" } as const;
  const row = {
    case: "c",
    op: "convolution",
    version: "v0",
    backend: "webgpu",
    batch: 2,
    times,
    error: 0,
  } as Row;
  const half = { ...row, backend: HALF_BACKEND, times: { ...times, median: 2, processor: 12 }, error: 1e-3 };
  const suite = {
    rows: [row, half, { ...row, op: "layer forward" }],
    software: false,
  } as unknown as SuiteResult;
  assertEquals(halfTable(suite).rows, [["c", "convolution", "any", "2", "3.00", "2.00", "1.50x", "1.0e-3"]]);
  assertEquals(halfTable({ ...suite, software: true }).rows[0][6], "0.500x");
});

Deno.test({
  name: `bench: the timer's samples, dispatches and pipelines [webgpu]${NO_WEBGPU ? " (skipped)" : ""}`,
  ignore: NO_WEBGPU !== null,
  fn: async () => {
    shutdown();
    const found = await findDevice();
    const { device } = found!;
    const timer = new DeviceTimer(device);
    const createCommandEncoder = device.createCommandEncoder;
    await init({ device });
    try {
      const subject = await Subject.create(currentBackend("bench"), SMALL, "v0", drawData(SMALL, 3));
      subject.run("layer forward").free();
      assert(timer.pipelines.some(({ label }) => label.startsWith("constructKernel")), "pipelines by label");
      assert(timer.pipelines.every(({ milliseconds }) => milliseconds > 0));
      if (!timer.granted) {
        assertThrows(() => timer.start("sample"), Error, "timestamp-query");
        return;
      }
      await subject.wait();
      for (const unit of ["sample", "dispatch"] as const) {
        timer.start(unit);
        for (let i = 0; i < 3; i++) {
          timer.mark();
          subject.run("layer forward").free();
        }
        await subject.wait();
        const spans = await timer.take();
        assertEquals(device.createCommandEncoder === createCommandEncoder, false, "patched once more");
        const times = sampleTimes(spans);
        assertEquals(times.length, 3);
        assert(times.every((time) => time > 0 && time < 1e4), `${times}`);
        if (unit === "sample") assertEquals(spans.length, 3, "one pass a sample");
        else assertEquals(spans.length % 3, 0, "the same dispatches each time");
        if (unit === "dispatch") assert(spans.length >= 6, "construction and convolution apart");
      }
      const contender = {
        run: () => subject.run("convolution").free(),
        wait: () => subject.wait(),
        timer,
      };
      const [times] = await interleave([contender], { rounds: 2, milliseconds: 1 });
      assert(times.samples >= 2 && times.min > 0 && times.min <= times.median, JSON.stringify(times));
      assertEquals(times.clock, "timestamps");
      subject.dispose();
    } finally {
      shutdown();
    }
  },
});

Deno.test("bench: contenders take turns", async () => {
  const order: string[] = [];
  const contender = (name: string) => ({ run: () => void order.push(name), wait: null, timer: null });
  // A generous budget: a pause of the machine must not make these look like slow contenders, which get fewer rounds.
  const times = await interleave([contender("a"), contender("b")], { rounds: 3, milliseconds: 10_000 });
  const warmUp = 2;
  assertEquals(order.slice(warmUp).join("").replaceAll(/(.)\1+/g, "$1"), "ababab");
  assertEquals(times.map(({ clock }) => clock), ["wall", "wall"]);
  const busy = (): void => {
    for (const started = performance.now(); performance.now() < started + 20;);
  };
  const [{ processor, wall }] = await interleave([{ run: busy, wait: null, timer: null }], {
    rounds: 2,
    milliseconds: 1,
  });
  assert(processor > 1 && wall >= 20, `${processor} of ${wall} ms`);
});

const TIMES = { median: 2, min: 1.5, samples: 9, wall: 2.5, processor: 4, clock: "timestamps" } as const;
const ROW: Row = {
  case: POSTER.name,
  op: "layer forward",
  version: "v0",
  backend: "webgpu",
  batch: 2,
  times: TIMES,
  teraflopsPerSecond: 1,
  gigabytesPerSecond: 10,
  ofLimit: 0.25,
  bound: "memory",
  pytorch: { milliseconds: 59, device: "some CPU", ratio: 23.6 },
  firstUse: 100,
  error: 1e-7,
  kernels: [{ label: "planeConvolution", milliseconds: 1.9 }],
};
const SUITE: SuiteResult = {
  limits: { copyGigabytesPerSecond: 40, teraflopsPerSecond: 0.1, copyBytes: 2 ** 27, timestamps: true },
  adapter: "llvmpipe",
  software: true,
  rows: [ROW, { ...ROW, op: "convolution", backend: "stock tfjs, wasm", pytorch: null, kernels: [] }],
  pipelines: [{ label: "planeConvolution", milliseconds: 80 }, {
    label: "planeConvolution",
    milliseconds: 100,
  }],
  problems: ["tfjs is left out: for a test"],
};
const AROUND = {
  command: "deno task bench",
  date: "2026-11-23",
  deno: "2.9.6",
  cores: 2,
  loadBefore: 3,
  loadAfter: 2,
};

Deno.test("bench: a software adapter is called one, a busy machine is told, GPU figures stay open", () => {
  assertStringIncludes(adapterLines(SUITE).join("\n"), "a SOFTWARE adapter");
  assert(!adapterLines({ ...SUITE, software: false }).join("\n").includes("SOFTWARE"));
  const text = markdownReport({ surroundings: AROUND, suite: SUITE, host: [] });
  for (
    const part of [
      "not to be trusted",
      "not measured: no GPU at hand",
      "tfjs is left out",
      "planeConvolution 1.90",
    ]
  ) assertStringIncludes(text, part);
  assertStringIncludes(text, "| planeConvolution | 2 | 90.0 | 100 |");
  const quiet = markdownReport({ surroundings: { ...AROUND, loadBefore: 0.3 }, suite: SUITE, host: [] });
  assert(!quiet.includes("not to be trusted"));
  const cpu = targetTable(SUITE, "cpu").rows.find((row) => row[1] === "layer forward" && row[2] === "v0")!;
  assertEquals(cpu.slice(4), ["59.0", "11.8", "2.50", "4.00", "23.6x", "met"]); // by the wall, on CPUs
  assert(targetTable(SUITE, "gpu").rows.every((row) => row[6] === "not measured: no GPU at hand"));
  const slow = {
    ...SUITE,
    software: false,
    rows: [{ ...ROW, batch: 128, times: { ...TIMES, median: 0.34 } }],
  };
  const gpu = targetTable(slow, "gpu").rows.find((row) => row[1] === "layer forward")!;
  assertEquals(gpu.slice(4), ["6.00", "0.170", "0.340", "", "17.6x", "missed by 100 %"]); // by the device, on GPUs
  assertEquals(opTable(SUITE).rows[0].length, opTable(SUITE).head.length);
});

Deno.test("bench: a section replaces itself and leaves the rest", () => {
  const once = withSection("# Title\n\nmine\n", "ops", "one");
  const both = withSection(once, "growth", "other");
  const again = withSection(both, "ops", "two");
  assert(again.startsWith("# Title\n\nmine\n\n<!-- ops: generated"));
  assertStringIncludes(again, "two");
  assertStringIncludes(again, "other");
  assert(!again.includes("one"));
});

Deno.test("bench: the sweep's claim and its picture", async () => {
  const settings = sweepSettings(true);
  assertEquals(settings.filter(({ axis }) => axis === "claim").length, 4 * 5 * 3);
  const points: SweepPoint[] = settings.flatMap((setting) =>
    (["layer forward", "layer forward + backward"] as const).map((op) => ({
      ...setting,
      op,
      median: setting.size === 31 ? 3 : 1,
      min: 1,
      algorithm: setting.size < 12 ? "direct" : "FFT",
    }))
  );
  assertEquals(spread(points, "layer forward")?.ratio, 3);
  assertEquals(spread([], "layer forward"), null);
  assertEquals(spread(points, "layer forward", ({ size }) => size < 31)?.ratio, 1);
  assertStringIncludes(claimLines(points)[0], "within 2x does not hold");
  assertEquals(growthTable(points).rows.length, settings.filter(({ axis }) => axis !== "claim").length);
  assertStringIncludes(markdownSweep(points, AROUND, SUITE), "![Growth](growth.svg)");
  const svg = await drawGrowth(points, "llvmpipe");
  assert(svg.startsWith("<svg") && svg.includes("kernel count") && !svg.includes("NaN"));
});

Deno.test("bench: the command's options, help and refusals", async () => {
  const refuse = (message: string, ...args: string[]): void => {
    assertThrows(() => parseCommand(benchCommand, args), RangeError, message);
  };
  refuse("--backend must be one of all, webgpu, tfjs", "--backend", "cuda");
  refuse("--json must be a path", "--json", "");
  assertEquals(parseCommand(benchCommand, []).values.backend, "all");
  const run = async (...args: string[]) => {
    const config = new URL("../deno.json", import.meta.url).pathname;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["task", "--quiet", "--config", config, "bench", ...args],
      env: { NO_COLOR: "1" },
    }).output();
    const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
    return { code, stdout: text(stdout), stderr: text(stderr) };
  };
  const help = await run("--help");
  assertEquals(help.code, 0, help.stderr);
  assertStringIncludes(help.stdout, "--sweep");
  const unknown = await run("--filter", "no such op");
  assertEquals(unknown.code, 2);
  assertStringIncludes(unknown.stderr, '--filter must be part of an op\'s description, got "no such op"');
  const sweep = await run("--sweep", "--backend", "tfjs");
  assertEquals(sweep.code, 2, sweep.stdout);
  const json = await Deno.makeTempFile({ suffix: ".json" });
  try {
    const backend = NO_WEBGPU ? "tfjs" : "webgpu";
    const bench = await run(
      "--quick",
      "--backend",
      backend,
      "--filter",
      "constructKernel v0 192",
      "--json",
      json,
    );
    assertEquals(bench.code, 0, bench.stderr);
    assertStringIncludes(bench.stdout, "192 x 28², 17x17 / 34");
    const { suite, surroundings } = JSON.parse(await Deno.readTextFile(json));
    assertEquals(suite.rows.length, 1);
    assert(suite.rows[0].times.median > 0 && suite.rows[0].error <= TOLERANCE);
    assertStringIncludes(surroundings.command, "--quick");
  } finally {
    await Deno.remove(json);
  }
});
