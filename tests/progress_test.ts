/** The progress line, on a terminal and off it. */
import { onInterrupt } from "../src/train/interrupt.ts";
import { createProgress, formatDuration, type Progress } from "../src/train/progress.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "./assert.ts";

/** A progress line on a made-up terminal or file, with a clock that moves only when told to. */
function fixture(
  options: { terminal: boolean; total?: number; epochs?: number; startStep?: number; columns?: number },
): { progress: Progress; written: string[]; clock: { time: number }; screen: { columns: number } } {
  const written: string[] = [];
  const clock = { time: 1000 };
  const screen = { columns: options.columns ?? 120 };
  const progress = createProgress({
    total: options.total ?? 1000,
    label: "train",
    epochs: options.epochs ?? 5,
    startStep: options.startStep,
    now: () => clock.time,
    output: {
      write: (text) => void written.push(text),
      isTerminal: () => options.terminal,
      columns: () => screen.columns,
    },
  });
  return { progress, written, clock, screen };
}

/** Clears from the cursor to the end of the line. */
const clearRight = "\x1b[K";

/** Loss and accuracy that fall and rise as on MNIST. */
function state(step: number) {
  return {
    step,
    epoch: Math.floor((step - 1) / 200) + 1,
    loss: 0.05 + 2.25 * Math.exp(-step / 60),
    accuracy: 1 - 0.9 * Math.exp(-step / 50),
    imagesPerSecond: 2048,
  };
}

Deno.test("progress: one live line, rewritten at most ten times a second", () => {
  const { progress, written, clock } = fixture({ terminal: true });
  for (let step = 1; step <= 1000; step++) {
    clock.time += 7;
    progress.update(state(step));
  }
  // 7 seconds of training: the first line, then at most 70.
  assert(written.length <= 71, `${written.length} writes`);
  assert(written.length >= 60, `${written.length} writes`);
  for (const text of written) {
    assert(text.startsWith("\r") && text.endsWith(clearRight), text);
    assert(!/[\r\n]/.test(text.slice(1)), text);
  }
  progress.stop();
  assertEquals(written.at(-1), "\n");
  assertStringIncludes(written.at(-2)!, "step 1000/1000  100 %");
});

Deno.test("progress: what the live line says", () => {
  const { progress, written, clock } = fixture({ terminal: true });
  progress.update(state(1));
  clock.time += 60_000;
  progress.update(state(250)); // 250 steps in 60 s: 750 more take 180 s
  assertEquals(
    written[1],
    "\rtrain  [====>              ]  epoch 2/5  step  250/1000   25 %  loss 0.0849  accuracy 99.4 %" +
      "  2,048 images/s  3:00 left\x1b[K",
  );
});

Deno.test("progress: the live line is cut to the window, also after a resize", () => {
  const { progress, written, clock, screen } = fixture({ terminal: true });
  for (let columns = 140; columns > 0; columns--) {
    screen.columns = columns;
    clock.time += 1000;
    progress.update(state(1000 - columns));
    const line = written.at(-1)!.slice(1, -clearRight.length);
    assert(line.length <= Math.max(1, columns - 1), `${line.length} characters in ${columns} columns`);
    if (columns > 40) assertStringIncludes(line, "loss");
    if (columns > 50) assertMatch(line, /\d left$|\d s left$/);
  }
});

Deno.test("progress: log() prints a whole line and the live line comes back below it", () => {
  const { progress, written } = fixture({ terminal: true });
  progress.log("MNIST: 60,000 images");
  assertEquals(written, ["MNIST: 60,000 images\n"]); // no live line yet
  progress.update(state(1));
  progress.log("epoch 1: test accuracy 97.10 %");
  assertEquals(written[2], "\r\x1b[Kepoch 1: test accuracy 97.10 %\n");
  assertEquals(written[3], written[1]);
  progress.stop();
  progress.stop();
  progress.update(state(2));
  assertEquals(written.slice(4), ["\n"]);
  progress.log("done");
  assertEquals(written.at(-1), "done\n");
});

Deno.test("progress: plain lines are as rare as the rarer of 10 s and a tenth of an epoch", () => {
  const run = (millisecondsPerStep: number): string[] => {
    const { progress, written, clock } = fixture({ terminal: false }); // 200 steps an epoch
    for (let step = 1; step <= 1000; step++) {
      clock.time += millisecondsPerStep;
      progress.update(state(step));
    }
    progress.stop();
    for (const line of written) assertMatch(line, /^train {2}epoch [1-5]\/5 {2}step .*[^ ]\n$/);
    return written;
  };
  const steps = (lines: string[]): number[] => lines.map((line) => Number(/step +(\d+)/.exec(line)![1]));
  // 10 s hold 100 steps, more than a tenth of an epoch.
  assertEquals(steps(run(100)), [1, 101, 201, 301, 401, 501, 601, 701, 801, 901, 1000]);
  // 10 s hold 5 steps, a tenth of an epoch is 20.
  assertEquals(steps(run(2000)).slice(0, 4), [1, 21, 41, 61]);
});

Deno.test("progress: plain lines carry no control characters, and log() goes between them", () => {
  const { progress, written } = fixture({ terminal: false });
  progress.update(state(1));
  progress.log("epoch 1: test accuracy 97.10 %");
  progress.stop();
  assertEquals(written.length, 2); // the last state is already there
  // deno-lint-ignore no-control-regex
  assert(!/[\x00-\x09\x0b-\x1f]/.test(written.join("")));
});

Deno.test("progress: time left after a resume counts this process's steps only", () => {
  const { progress, written, clock } = fixture({ terminal: true, startStep: 800 });
  clock.time += 10_000;
  progress.update(state(900)); // 100 steps in 10 s, 100 to go
  assertStringIncludes(written[0], `10 s left${clearRight}`);
});

Deno.test("progress: speed is that of the last minute", () => {
  const { progress, written, clock } = fixture({ terminal: true, total: 10_000 });
  clock.time += 600_000; // compiling kernels, or a suspended laptop
  progress.update(state(1));
  for (let step = 2; step <= 2000; step++) {
    clock.time += 100;
    progress.update(state(step));
  }
  assertStringIncludes(written.at(-1)!, `13:20 left${clearRight}`); // 8000 steps of 0.1 s
});

Deno.test("progress: values that are missing or not finite are left out or named", () => {
  const { progress, written, clock } = fixture({ terminal: false, total: 10, epochs: 1 });
  progress.update({ step: 1, epoch: 1 });
  clock.time += 20_000;
  progress.update({ step: 5, epoch: 1, loss: NaN, imagesPerSecond: Infinity });
  clock.time += 20_000;
  progress.update({ step: 10, epoch: 1, loss: 2e-7, imagesPerSecond: 0.25 });
  assertEquals(written, [
    "train  epoch 1/1  step  1/10   10 %\n",
    "train  epoch 1/1  step  5/10   50 %  loss NaN  20 s left\n",
    "train  epoch 1/1  step 10/10  100 %  loss 2.00e-7  0.3 images/s  0 s left\n",
  ]);
});

Deno.test("progress: refuses totals that make no sense, and runs of no steps end at once", () => {
  const make = (total: number, epochs = 1) => createProgress({ total, label: "train", epochs });
  assertThrows(
    () => make(2.5),
    RangeError,
    "Cannot create a progress line: total must be an integer of at least 0, got 2.5",
  );
  assertThrows(() => make(NaN), RangeError, "got NaN");
  assertThrows(() => make(10, 0), RangeError, "epochs must be an integer of at least 1, got 0");
  const { progress, written } = fixture({ terminal: true, total: 0 });
  progress.stop();
  assertEquals(written, []);
});

Deno.test("progress: durations", () => {
  const cases: [number, string][] = [[-1, "0 s"], [0, "0 s"], [0.1, "1 s"], [59.1, "1:00"], [
    3600,
    "1:00:00",
  ]];
  for (const [seconds, text] of cases) assertEquals(formatDuration(seconds), text);
});

/** Signals by hand. */
class TestHost {
  readonly listeners = new Map<string, () => void>();
  readonly exits: number[] = [];

  addSignalListener(signal: string, listener: () => void): void {
    this.listeners.set(signal, listener);
  }

  removeSignalListener(signal: string, listener: () => void): void {
    if (this.listeners.get(signal) === listener) this.listeners.delete(signal);
  }

  exit(status: number): void {
    this.exits.push(status);
  }

  send(signal: string): void {
    this.listeners.get(signal)?.();
  }
}

const wait = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

Deno.test("interrupt: the first signal asks, the second one ends the process with 130", async () => {
  const host = new TestHost();
  const asked: string[] = [];
  const interrupt = onInterrupt({ host, samePress: 20, onRequest: (signal) => void asked.push(signal) });
  assertEquals([interrupt.requested, interrupt.signal.aborted], [false, false]);
  host.send("SIGINT");
  host.send("SIGINT"); // deno task passes on what the terminal has sent already
  assertEquals([interrupt.requested, interrupt.signal.aborted], [true, true]);
  assertEquals([interrupt.signal.reason.name, interrupt.signal.reason.message], [
    "AbortError",
    "Stopped by SIGINT",
  ]);
  assertEquals([asked, host.exits], [["SIGINT"], []]);
  await wait(60);
  host.send("SIGINT");
  assertEquals([asked, host.exits], [["SIGINT"], [130]]);
  interrupt.dispose();
  assertEquals(host.listeners.size, 0);
});

Deno.test({
  name: "interrupt: SIGTERM asks too, and dispose() gives the signals back",
  ignore: Deno.build.os === "windows",
  fn() {
    const host = new TestHost();
    const interrupt = onInterrupt({ host });
    host.send("SIGTERM");
    assert(interrupt.requested);
    interrupt.dispose();
    assertEquals(host.listeners.size, 0);
    interrupt.dispose();
  },
});

const mayRun = (await Deno.permissions.query({ name: "run" })).state === "granted";

Deno.test({
  name: "interrupt: a real process stops gracefully at one SIGINT and at once at two" +
    (mayRun ? "" : " (skipped: needs --allow-run)"),
  ignore: !mayRun || Deno.build.os === "windows",
  async fn() {
    const script = (graceful: boolean): string => `
      import { onInterrupt } from "${new URL("../src/train/interrupt.ts", import.meta.url)}";
      const interrupt = onInterrupt({ samePress: 50, onRequest: () => console.log("asked") });
      console.log("ready");
      while (!interrupt.requested || !${graceful}) await new Promise((done) => setTimeout(done, 10));
      interrupt.dispose();
      console.log("saved");
      Deno.exit(130);
    `;
    for (const graceful of [true, false]) {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-prompt", "--ext=ts", "-"],
        stdin: "piped",
        stdout: "piped",
      }).spawn();
      const writer = child.stdin.getWriter();
      await writer.write(new TextEncoder().encode(script(graceful)));
      await writer.close();
      let out = "";
      for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
        out += text;
        if (text.includes("ready")) child.kill("SIGINT");
        if (text.includes("asked") && !graceful) {
          await wait(200);
          child.kill("SIGINT");
        }
      }
      assertEquals((await child.status).code, 130);
      assertEquals(out, graceful ? "ready\nasked\nsaved\n" : "ready\nasked\n");
    }
  },
});
