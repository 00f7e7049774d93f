/**
 * The tails of ConvNeXt's blocks (LayerNorm, two linear maps with a GELU between them, scale and residual) in fused ops
 * and layer by layer: verified, then timed in turns. WebGPU only.
 *
 * Legend: N batch, C channels of a stage.
 * @module
 */
import { noGrad, type Tensor, tensor, tidy } from "../mod.ts";
import { layerNorm, layerNormPointwise, pointwise, pointwiseResidual, scaleResidual } from "../src/nn/mod.ts";
import { referenceOps } from "../src/reference/backend.ts";
import { fillNormal } from "../src/random.ts";
import { type Shape, sizeOf } from "../src/spec.ts";
import { type Effort, interleave, profile } from "./measure.ts";
import { digits, type Table } from "./report.ts";
import type { OpenWebgpu } from "./suite.ts";
import { errorOf, TOLERANCE } from "./verify.ts";

/** A stage of ConvNeXt-T at 224². */
export interface BlockCase {
  readonly channels: number;
  /** Height and width of its planes. */
  readonly extent: number;
}

/** The four stages. */
export const BLOCKS: readonly BlockCase[] = [
  { channels: 96, extent: 56 },
  { channels: 192, extent: 28 },
  { channels: 384, extent: 14 },
  { channels: 768, extent: 7 },
];

/** What is timed: the two halves of the tail, without gradients and with all of them. */
export const BLOCK_OPS = [
  "layerNormPointwise",
  "layerNormPointwise, training",
  "pointwiseResidual",
  "pointwiseResidual, training",
] as const;
/** One of them. */
export type BlockOp = typeof BLOCK_OPS[number];

/** One line of the results. */
export interface BlockRow {
  readonly case: BlockCase;
  readonly op: BlockOp;
  readonly variant: "fused" | "layer by layer";
  readonly batch: number;
  readonly milliseconds: number;
  readonly minimum: number;
  /** Processor time of all threads. */
  readonly processor: number;
  readonly dispatches: number;
  readonly teraflopsPerSecond: number;
  /** Time at the measured FMA rate over the time taken. */
  readonly ofLimit: number;
  readonly error: number;
}

const EPSILON = 1e-6;
const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** Tensors of a case, and both halves of the tail on them. */
class Tail {
  readonly shape: Shape;
  readonly wide: Shape;
  readonly #leaves: readonly Tensor[];
  readonly #x: Tensor;
  readonly #h: Tensor;
  readonly #norm: readonly [Tensor, Tensor];
  readonly #first: readonly [Tensor, Tensor];
  readonly #second: readonly [Tensor, Tensor];
  readonly #scale: Tensor;
  readonly #shortcut: Tensor;
  readonly #dy: Readonly<Record<"narrow" | "wide", Tensor>>;

  /** @param picked images that have a gradient; the others' is 0 */
  constructor({ channels: C, extent }: BlockCase, batch: number, picked: readonly number[]) {
    this.shape = [batch, C, extent, extent];
    this.wide = [batch, 4 * C, extent, extent];
    let seed = 1;
    const leaves: Tensor[] = [];
    const normal = (shape: Shape, deviation = 1, mean = 0): Tensor => {
      const values = fillNormal(new Float32Array(sizeOf(shape)), seed++).map((x) => mean + deviation * x);
      leaves.push(tensor(values, shape, { requiresGrad: true }));
      return leaves[leaves.length - 1];
    };
    this.#x = normal(this.shape);
    this.#h = normal(this.wide);
    this.#norm = [normal([C], 0.2, 1), normal([C], 0.2)];
    this.#first = [normal([4 * C, C], C ** -0.5), normal([4 * C], 0.1)];
    this.#second = [normal([C, 4 * C], (4 * C) ** -0.5), normal([C], 0.1)];
    this.#scale = normal([C], 0.5);
    this.#shortcut = normal(this.shape);
    this.#leaves = leaves;
    const gradient = (shape: Shape): Tensor => {
      const values = fillNormal(new Float32Array(sizeOf(shape)), seed++), image = values.length / batch;
      const masked = values.map((x, i) => picked.includes(Math.floor(i / image)) ? x : 0);
      return tensor(masked, shape);
    };
    this.#dy = { narrow: gradient(this.shape), wide: gradient(this.wide) };
  }

  /** The inputs of a half, in the op's order. */
  inputs(op: BlockOp): Tensor[] {
    return op.startsWith("layerNorm")
      ? [this.#x, ...this.#norm, ...this.#first]
      : [this.#h, ...this.#second, this.#scale, this.#shortcut];
  }

  gradientOf(op: BlockOp): Tensor {
    return op.startsWith("layerNorm") ? this.#dy.wide : this.#dy.narrow;
  }

  /** In training gelu belongs to the second half, without gradients to the first: as in a block. */
  forward(op: BlockOp, fused: boolean): Tensor {
    const [weight, bias] = this.#norm, training = op.endsWith("training");
    if (op.startsWith("layerNorm")) {
      const activation = training ? "none" : "gelu", options = { epsilon: EPSILON, activation } as const;
      if (fused) return layerNormPointwise(this.#x, weight, bias, ...this.#first, options);
      const sums = pointwise(layerNorm(this.#x, weight, bias, EPSILON), ...this.#first);
      return training ? sums : sums.gelu();
    }
    const options = { scale: this.#scale, activation: training ? "gelu" : "none" } as const;
    if (fused) return pointwiseResidual(this.#h, ...this.#second, this.#shortcut, options);
    const sums = pointwise(training ? this.#h.gelu() : this.#h, ...this.#second);
    return scaleResidual(this.#shortcut, sums, this.#scale);
  }

  /** Queues a call and forgets what it made. */
  run(op: BlockOp, fused: boolean): void {
    if (!op.endsWith("training")) return noGrad(() => tidy(() => this.forward(op, fused))).dispose();
    tidy(() => this.forward(op, fused).backward(this.gradientOf(op)));
    this.forget();
  }

  forget(): void {
    for (const leaf of this.#leaves) leaf.zeroGrad();
  }

  dispose(): void {
    for (const each of [...this.#leaves, ...Object.values(this.#dy)]) each.dispose();
  }
}

type Values = Readonly<Record<string, ArrayLike<number>>>;

/** The picked images of a tensor `[N, ...]` one after another. */
function imagesOf(values: ArrayLike<number>, batch: number, picked: readonly number[]): Float64Array {
  const image = values.length / batch, made = new Float64Array(picked.length * image);
  picked.forEach((n, i) => {
    for (let j = 0; j < image; j++) made[i * image + j] = values[n * image + j];
  });
  return made;
}

/** The output's picked images, and in training every gradient: theirs, and the parameters', which are theirs alone. */
async function measured(tail: Tail, op: BlockOp, fused: boolean, picked: readonly number[]): Promise<Values> {
  const [batch] = tail.shape, inputs = tail.inputs(op);
  const output = op.endsWith("training") ? tail.forward(op, fused) : noGrad(() => tail.forward(op, fused));
  const values: Record<string, ArrayLike<number>> = { output: imagesOf(await output.data(), batch, picked) };
  if (op.endsWith("training")) {
    output.backward(tail.gradientOf(op));
    for (const [i, input] of inputs.entries()) {
      const gradient = await input.grad!.data();
      values[`gradient ${i}`] = input.shape.length > 2 ? imagesOf(gradient, batch, picked) : gradient;
    }
    tail.forget();
  }
  output.dispose();
  return values;
}

/** The same in float64, of the picked images alone. */
async function expected(tail: Tail, op: BlockOp, picked: readonly number[]): Promise<Values> {
  const [batch] = tail.shape, training = op.endsWith("training");
  const part = async (x: Tensor): Promise<{ handle: { data: Float64Array }; shape: Shape }> => {
    const data = await x.data(), image = x.shape.length > 2;
    return {
      handle: { data: image ? imagesOf(data, batch, picked) : Float64Array.from(data) },
      shape: image ? [picked.length, ...x.shape.slice(1)] : x.shape,
    };
  };
  const inputs = await Promise.all(tail.inputs(op).map(part)), dy = await part(tail.gradientOf(op));
  const needs = inputs.map(() => training);
  const [output, gradients] = op.startsWith("layerNorm")
    ? (() => {
      const attributes = { epsilon: EPSILON, activation: training ? "none" : GELU.kind } as const;
      const { forward, backward } = referenceOps.layerNormPointwise;
      return [forward(inputs, attributes, dy.shape), training ? backward(dy, inputs, attributes, needs) : []];
    })()
    : (() => {
      const attributes = { activation: training ? GELU.kind : "none" } as const, all = [...inputs, null];
      const { forward, backward } = referenceOps.pointwiseResidual;
      return [
        forward(all, attributes, dy.shape),
        training ? backward(dy, all, attributes, [...needs, false]) : [],
      ];
    })();
  const values: Record<string, ArrayLike<number>> = { output: output.data };
  gradients.forEach((gradient, i) => {
    if (gradient) values[`gradient ${i}`] = gradient.data;
  });
  return values;
}

/** The largest error of a half's output and gradients in the picked images, relative to each one's largest magnitude. */
export async function verifyBlock(
  blockCase: BlockCase,
  batch: number,
  op: BlockOp,
  fused: boolean,
): Promise<number> {
  const picked = batch > 1 ? [0, batch - 1] : [0];
  const tail = new Tail(blockCase, batch, picked);
  const [actual, right] = [await measured(tail, op, fused, picked), await expected(tail, op, picked)];
  tail.dispose();
  return Math.max(...Object.entries(right).map(([name, values]) => errorOf(actual[name] ?? [], values)));
}

/**
 * Runs all cases.
 * @throws {Error} where an op is wrong: what is wrong is not timed
 */
export async function runBlocks(
  { info, timer, adapter }: OpenWebgpu,
  effort: Effort,
  note: (line: string) => void,
): Promise<BlockRow[]> {
  const rows: BlockRow[] = [], batch = info.software ? 1 : 128;
  for (const blockCase of BLOCKS) {
    const { channels, extent } = blockCase;
    note(`${channels} x ${extent}²`);
    const all = Array.from({ length: batch }, (_, n) => n);
    for (const op of BLOCK_OPS) {
      const errors: number[] = [];
      for (const fused of [true, false]) {
        const error = await verifyBlock(blockCase, batch, op, fused);
        if (!(error <= TOLERANCE)) {
          throw new Error(
            `Cannot time ${op} of ${channels} x ${extent}²: it must be within ${TOLERANCE} of float64, got ${error}`,
          );
        }
        errors.push(error);
      }
      const tail = new Tail(blockCase, batch, all);
      const contenders = [true, false].map((fused) => ({
        run: () => tail.run(op, fused),
        wait: async () => void await tail.inputs(op)[1].data(),
        timer: timer.granted ? timer : null,
      }));
      adapter.warmUp();
      const times = await interleave(contenders, effort);
      for (const [i, { median, min, processor }] of times.entries()) {
        const flops = (op.endsWith("training") ? 3 : 1) * 8 * channels ** 2 * batch * extent ** 2;
        rows.push({
          case: blockCase,
          op,
          variant: i === 0 ? "fused" : "layer by layer",
          batch,
          milliseconds: median,
          minimum: min,
          processor,
          dispatches: (await profile(contenders[i], 1)).length,
          teraflopsPerSecond: flops / median / 1e9,
          ofLimit: flops / adapter.limits.teraflopsPerSecond / 1e9 / median,
          error: errors[i],
        });
      }
      tail.dispose();
    }
  }
  return rows;
}

/** All rows, the two variants one above the other. */
export function blockTable(rows: readonly BlockRow[]): Table {
  return {
    head: ["stage", "op", "", "batch", "dispatches", "ms", "min", "CPU ms", "TFLOP/s", "of limit", "error"],
    texts: [0, 1, 2],
    rows: rows.map((row) => [
      `${row.case.channels} x ${row.case.extent}²`,
      row.op,
      row.variant,
      String(row.batch),
      String(row.dispatches),
      digits(row.milliseconds),
      digits(row.minimum),
      digits(row.processor),
      digits(row.teraflopsPerSecond),
      `${(100 * row.ofLimit).toFixed(0)} %`,
      row.error.toExponential(1),
    ]),
  };
}
