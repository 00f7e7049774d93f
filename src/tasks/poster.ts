/**
 * `deno task poster`: the example of the PyTorch package's front page, forward and backward at its full size.
 * @module
 */
import process from "node:process";
import { Dcls2d, init, memory, randn, type Tensor } from "../../mod.ts";
import { fillNormal } from "../random.ts";
import { sizeOf } from "../spec.ts";
import { defineCommand, type ParsedCommand, runCommand } from "../train/cli.ts";
import { backendOption } from "./options.ts";
import { compareWithFloat64 } from "./poster/check.ts";
import { formatBytes, formatSeconds, say } from "./terminal.ts";

const CHANNELS = 96, EXTENT = 56, SIZE = 17, PADDING = 8, KERNEL_COUNT = 34;
/** Outputs compared with float64. */
const PLACES = 1000;
/** Error allowed relative to the largest magnitude: that of all comparisons of float32 backends. */
const TOLERANCE = 1e-4;

const options = [
  { name: "batch", type: "integer", min: 1, max: 4096, default: 128, description: "Images." },
  {
    name: "seed",
    type: "integer",
    min: 0,
    max: 2 ** 32 - 1,
    default: 0,
    description: "Decides the input and the layer's initial values.",
  },
  {
    name: "input-gradient",
    type: "boolean",
    description: "Take the gradient by the input, too, as a layer within a network does.",
  },
  backendOption,
] as const;

/** The command line of `deno task poster`. */
export const posterCommand = defineCommand({
  name: "deno task poster",
  summary:
    "Runs a depthwise Dcls2d of 96 channels with 34 elements in 17 x 17 on 128 images of 56 x 56 (a tensor of 147 " +
    "MiB), forward and backward, and compares 1,000 outputs, the output's sum and every gradient with float64. " +
    "Exit status 1 where one is off by more than 1e-4 of the largest.",
  options,
  examples: [
    { line: "deno task poster", does: "the full size, on WebGPU where an adapter answers" },
    { line: "deno task poster --batch 4 --backend tfjs", does: "a small batch on tfjs" },
  ],
});

/** Says what begins and, when it is done, how long it took and what the process holds. */
async function phase<T>(name: string, body: () => T | Promise<T>): Promise<T> {
  Deno.stdout.writeSync(new TextEncoder().encode(`${name.padEnd(30)} `));
  const started = performance.now();
  try {
    const result = await body();
    const seconds = formatSeconds((performance.now() - started) / 1000);
    say(`${seconds.padStart(8)}   ${formatBytes(Deno.memoryUsage().rss).padStart(8)} resident`);
    return result;
  } catch (error) {
    say("failed");
    throw error;
  }
}

/** The root of the sum of squares. */
function norm(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}

async function main({ values }: ParsedCommand<typeof options>): Promise<number> {
  const { batch, seed, backend, inputGradient } = values;
  const shape = [batch, CHANNELS, EXTENT, EXTENT];
  const started = performance.now();
  const info = await init({ backend });
  say(`backend   ${info.name} (${info.adapter}${info.software ? ", on the CPU" : ""})`);
  const limit = info.limits.maxStorageBufferBindingSize;
  say(
    `input     [${shape.join(", ")}], ${formatBytes(4 * sizeOf(shape))}` +
      (limit === undefined ? "" : `; the adapter binds up to ${formatBytes(limit)} at once`),
  );
  const m = new Dcls2d(CHANNELS, CHANNELS, {
    kernelCount: KERNEL_COUNT,
    dilatedKernelSize: SIZE,
    padding: PADDING,
    groups: CHANNELS,
    seed,
  });
  // Ops only queue work: each phase ends by reading what it made, which waits for it.
  const input = await phase(
    "draw and upload the input",
    () => randn(shape, { seed: seed + 1, requiresGrad: inputGradient }),
  );
  const [output, loss, sum] = await phase("forward, sum", async (): Promise<[Tensor, Tensor, number]> => {
    const output = m.forward(input);
    const loss = output.sum();
    return [output, loss, await loss.item()];
  });
  const gradients = await phase("backward", async () => {
    loss.backward();
    return {
      weight: await m.weight.grad!.data(),
      P: await m.P.grad!.data(),
      bias: await m.bias!.grad!.data(),
      input: inputGradient ? await input.grad!.data() : null,
    };
  });
  const { bytes, pooledBytes } = memory();
  const read = await phase("read the output", () => output.data());
  const comparisons = await phase("compare with float64", async () => {
    const layer = {
      batch,
      channels: CHANNELS,
      extent: EXTENT,
      size: SIZE,
      padding: PADDING,
      kernelCount: KERNEL_COUNT,
      input: fillNormal(new Float32Array(sizeOf(shape)), seed + 1),
      weight: await m.weight.data(),
      P: await m.P.data(),
      bias: await m.bias!.data(),
    };
    return compareWithFloat64(layer, { output: read, sum, ...gradients }, PLACES, seed);
  });
  say(`output sum                      ${sum}`);
  for (const name of ["weight", "P", "bias"] as const) {
    say(`norm of the ${name} gradient`.padEnd(32) + norm(gradients[name]));
  }
  for (const { name, values: count, error } of comparisons) {
    const verdict = error <= TOLERANCE ? "" : `, more than the ${TOLERANCE} allowed`;
    say(`error of the ${name}`.padEnd(32) + `${error.toExponential(1)} (${count} compared)${verdict}`);
  }
  say(`tensors                         ${formatBytes(bytes)} in use, ${formatBytes(pooledBytes)} pooled`);
  // In KiB on every system.
  say(`peak memory of the process      ${formatBytes(1024 * process.resourceUsage().maxRSS)}`);
  const right = comparisons.every(({ error }) => error <= TOLERANCE);
  say(
    `${right ? "all right" : "wrong numbers"}: forward and backward on ${info.name} against float64 ` +
      `(${formatSeconds((performance.now() - started) / 1000)})`,
  );
  return right ? 0 : 1;
}

if (import.meta.main) await runCommand(posterCommand, main);
