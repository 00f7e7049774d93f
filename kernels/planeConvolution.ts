/**
 * Depthwise convolution of whole planes through the FFT, stride 1: forward, gradient to the input, both gradients at once.
 * The cost does not depend on the kernel's size, as long as the transform length serves it.
 *
 * With d = t - padding the offset of tap t, y[q] = sum over d of k[d] x[q + d], so Y = X S where S = conj(DFT of k placed
 * at d) / L^2, the `spectrum` buffer; dx = conv of dy with conj(S); dk[d] = sum over images of IDFT(conj(G) X)[d].
 * The transform is circular: L must be so long that no offset meets another one modulo L (`planeLength`). Larger planes
 * are cut into tiles (planeTiles.ts), which take turns like pairs.
 *
 * One workgroup owns one channel and a run of image pairs. The spectrum stays in registers over the run, and the next
 * pair is read into registers two barriers ahead of its use, so that memory and arithmetic overlap.
 * Software adapters run planeLineConvolution.ts instead, five times as fast there.
 * H100, 128 x 96 x 56 x 56, 17 x 17 (prototype of this kernel): forward 0.144 ms with 16 pairs a run, 0.158 without keeping
 * the spectrum, 0.204 without reading ahead, 0.181 with 32 pairs; a direct kernel 0.588, PyTorch 5.48.
 *
 * Bindings of planeConvolution: x, spectrum [C, L L], twiddles [L], bias (optional), y, parameters { channels, count, run }.
 * Bindings of planeConvBackward: x, dy, twiddles, (spectrum,) partial [runs, C, L L], (dx,) parameters with `earlier`, the
 * runs of earlier dispatches.
 */
import { type FftPlan, PlaneFft } from "./planeFft.ts";
import { declareSlots, PAIR_HELPERS, PlanePairs } from "./planePairs.ts";
import { type PairPasses, TilePairs } from "./planeTilePairs.ts";
import { type TileAxis, tilesAlong } from "./planeTiles.ts";
import { arrayOf, bindings, type Kernel, main, parameters, type Storage, unroll } from "./kernel.ts";

const PARAMETERS = { channels: "u32", count: "u32", run: "u32" } as const;
const BARRIER = "workgroupBarrier();";

/** A plane convolution: its two axes, whole or in tiles, and the transform that serves both. */
export interface PlanePlan {
  readonly rows: TileAxis;
  readonly columns: TileAxis;
  readonly fft: FftPlan;
  /** How x, y and their gradients are kept. */
  readonly storage: Storage;
}

/** Whether its planes are larger than its transforms. */
export function isCut({ rows, columns }: PlanePlan): boolean {
  return rows.cut || columns.cut;
}

/** Tiles of a plane of results on one side. */
export function planeTiles({ rows, columns }: PlanePlan, side: "input" | "output"): number {
  return tilesAlong(rows, rows[side]) * tilesAlong(columns, columns[side]);
}

/** The passes over a tensor on one side, whose tiles are those of `results`. */
function passes(
  fft: PlaneFft,
  plan: PlanePlan,
  side: "input" | "output",
  halo: "forward" | "toInput" | null,
  results: "input" | "output",
): PairPasses {
  return isCut(plan)
    ? new TilePairs(fft, plan, side, halo).of(new TilePairs(fft, plan, results, null))
    : new PlanePairs(fft, plan.rows[side], plan.columns[side], plan.storage);
}

function start(fft: PlaneFft, slots: string, tiles: number): string {
  return `${fft.declare()}
${PAIR_HELPERS}
${main(fft.plan.workgroupSize)} {
let c = g.x;
let first = g.y * parameters.run;
let end = min(first + parameters.run, (parameters.count + 1u) / 2u${tiles > 1 ? ` * ${tiles}u` : ""});
${fft.registers()}
${fft.lowerFlags()}
${BARRIER}
${slots}`;
}

function sizes(plan: PlanePlan): Pick<Kernel, "workgroupSize" | "workgroupBytes"> {
  return { workgroupSize: plan.fft.workgroupSize, workgroupBytes: plan.fft.workgroupBytes };
}

/** y = convolution of x, or the gradient to the input (`toInput`: x is dy then, and sizes are exchanged). */
export function planeConvolution(plan: PlanePlan, hasBias: boolean, toInput = false): Kernel {
  const fft = new PlaneFft(plan.fft), { L, a, b } = plan.fft;
  const from = toInput ? "output" : "input", to = toInput ? "input" : "output";
  const x = passes(fft, plan, from, toInput ? "toInput" : "forward", to);
  const y = passes(fft, plan, to, null, to);
  const inputs: [string, string, "read"][] = [
    ["x", arrayOf(plan.storage), "read"],
    ["spectrum", "array<vec2f>", "read"],
    ["twiddles", "array<vec2f>", "read"],
  ];
  if (hasBias) inputs.push(["bias", "array<f32>", "read"]);
  const code = `${bindings(...inputs, ["y", arrayOf(plan.storage), "read_write"])}
${parameters(inputs.length + 1, PARAMETERS)}
${start(fft, declareSlots(x), planeTiles(plan, to))}
${unroll(b, (i) => `let s${i} = spectrum[c * ${L * L}u + ${i * L * a}u + min(t, ${L * a - 1}u)];`)}
let add = ${hasBias ? "bias[c]" : "0.0"};
${x.load("x", "first")}
for (var item = first; item < end; item++) {
${x.columns("item")}${fft.afterColumns(x.width)}
${fft.readFlags("spoiled")}
${fft.twist(x.width)}
if (item + 1u < end) ${x.load("x", "item + 1u")}
${fft.afterTwist()}
${fft.tight ? "" : fft.lowerFlags()}
${fft.rows((spectrum, dft) => spectrum.map((z, i) => dft.multiply(z, `s${i}`, toInput)))}${fft.afterRows()}
${fft.twistBack(y.width)}${fft.afterTwistBack(y.width)}
${y.store("y", "item", "spoiled", "add")}
${fft.tight ? fft.lowerFlags() : ""}
${fft.tight || x.width !== y.width ? BARRIER : ""}
}
}`;
  return {
    label: `planeConvolution L${L}${isCut(plan) ? " tiles" : ""}${toInput ? " to input" : ""}`,
    code,
    ...sizes(plan),
  };
}

/**
 * Reads x and dy once, writes dx (where wanted) and, per run of pairs, the sum over its images of conj(G) X. No atomics:
 * the same sums every time. (Packing two images adds a term whose inverse transform is imaginary: the real part is exact.)
 */
export function planeConvBackward(plan: PlanePlan, inputGradient: boolean): Kernel {
  const fft = new PlaneFft(plan.fft), { L, a, b } = plan.fft;
  const tiles = planeTiles(plan, "input"); // of x, each once, with the part of dy that meets it
  const x = passes(fft, plan, "input", null, "input");
  const dy = passes(fft, plan, "output", "toInput", "input");
  const inputs: [string, string, "read"][] = [
    ["x", arrayOf(plan.storage), "read"],
    ["dy", arrayOf(plan.storage), "read"],
    ["twiddles", "array<vec2f>", "read"],
  ];
  if (inputGradient) inputs.push(["spectrum", "array<vec2f>", "read"]);
  const outputs: [string, string, "read_write"][] = [["partial", "array<vec2f>", "read_write"]];
  if (inputGradient) outputs.push(["dx", arrayOf(plan.storage), "read_write"]);
  const lowered = fft.tight ? `${fft.lowerFlags()}\n${BARRIER}` : "";
  const code = `${bindings(...inputs, ...outputs)}
${parameters(inputs.length + outputs.length, { ...PARAMETERS, earlier: "u32" })}
${start(fft, declareSlots(x, dy), tiles)}
${unroll(b, (i) => `var s${i} = vec2f(0.0); var z${i} = vec2f(0.0);`, " ")}
var poison = 0.0;
${x.load("x", "first")}
for (var item = first; item < end; item++) {
let live = select(0.0, 1.0, 2u * (item${tiles > 1 ? ` / ${tiles}u` : ""}) + 1u < parameters.count);
${x.columns("item")}${fft.afterColumns(x.width)}
${fft.readFlags("inX")}
${dy.load("dy", "item")}
${fft.twist(x.width)}${fft.afterTwist()}
${fft.tight ? "" : fft.lowerFlags()}
${
    fft.rows((spectrum, dft) => {
      spectrum.forEach(([re, im], i) => dft.statement(`z${i} = vec2f(${re}, ${im});`));
      return undefined;
    })
  }${BARRIER}
${lowered}
${dy.columns("item", "live")}${fft.afterColumns(dy.width)}
${fft.readFlags("inDy")}
${fft.twist(dy.width)}${fft.afterTwist()}
${fft.tight ? "" : fft.lowerFlags()}
${
    fft.rows((spectrum, dft) => {
      spectrum.forEach(([re, im], i) =>
        dft.statement(
          `s${i} += vec2f(fma(${re}, z${i}.x, (${im}) * z${i}.y), fma(${re}, z${i}.y, -(${im}) * z${i}.x));`,
        )
      );
      if (!inputGradient) return undefined;
      return spectrum.map((z, i) =>
        dft.multiply(z, dft.let(`spectrum[c * ${L * L}u + ${i * L * a}u + t]`), true)
      );
    })
  }${inputGradient ? fft.afterRows() : BARRIER}
poison += nanWhere(inX0 + inX1 + inDy0 + inDy1);
if (item + 1u < end) ${x.load("x", "item + 1u")}
${
    inputGradient
      ? `${fft.twistBack(x.width)}${fft.afterTwistBack(x.width)}\n${x.store("dx", "item", "inDy", "0.0")}`
      : ""
  }
${inputGradient && !fft.tight ? "" : BARRIER}
${lowered}
}
if (t < ${L * a}u) {
let base = ((parameters.earlier + g.y) * parameters.channels + c) * ${L * L}u + t;
${unroll(b, (i) => `partial[base + ${i * L * a}u] = s${i} + vec2f(poison);`)}
}
}`;
  return { label: `planeConvBackward L${L}${isCut(plan) ? " tiles" : ""}`, code, ...sizes(plan) };
}
