/**
 * layerNormStatistics: statistics[n, p] = (mean, r) of the channels of a pixel, r = 1 / sqrt(variance + epsilon), in one
 * pass over x [N, C, P].
 *
 * Bindings: x, statistics [N, P] of vec2f, parameters { pixels (n and p together), channels, plane (P), epsilon }.
 * Neighbouring invocations take neighbouring pixels and walk the channels, EACH at a time: the mean and the squared
 * deviations of EACH are exact, and runs are put together as Chan, Golub & LeVeque do (1979), so that neither a mean far from
 * 0 nor an outlying channel costs digits. `parts` invocations share a pixel where there are too few pixels to fill a GPU.
 * Software adapter, 96 x 56x56: 0.64 ms, layerNorm, which writes the normalised image, 2.6.
 */
import {
  arrayOf,
  bindings,
  float,
  type Kernel,
  load,
  main,
  parameters,
  type Storage,
  unroll,
} from "./kernel.ts";

const EACH = 8;

/** How pixels and channels are divided among invocations. */
export interface PixelPlan {
  /** Invocations that share a pixel; 1 needs no barrier. */
  readonly parts: number;
  /** Pixels of a workgroup. */
  readonly lanes: number;
}

/** A quantity of every channel whose mean is wanted, and, beside the first's variance, the covariance with the first. */
interface Quantity {
  readonly name: string;
  /** Its f32 expression for channel `c`. */
  value(c: string): string;
}

/**
 * Walks the channels of a pixel. Declares for each quantity `mean<name>`, and `moment<name>`: the sum of its deviations
 * times the first's. Uses `part`, `lane`, `t`; `C` is the expression of the number of channels. All invocations must reach it.
 */
export function moments(plan: PixelPlan, C: string, quantities: readonly Quantity[]): string {
  const { parts, lanes } = plan, names = quantities.map(({ name }) => name), first = names[0];
  const block = (count: number): string =>
    `{
${
      quantities.map(({ name, value }) =>
        `${unroll(count, (i) => `let ${name}${i} = ${value(`(c + ${i * parts}u)`)};`, " ")}
let block${name} = (${unroll(count, (i) => `${name}${i}`, " + ")}) * ${float(1 / count)};`
      ).join("\n")
    }
${
      names.map((name) =>
        `let own${name} = ${
          unroll(count, (i) => `(${first}${i} - block${first}) * (${name}${i} - block${name})`, " + ")
        };`
      ).join("\n")
    }
let share = ${float(count)} / (count + ${float(count)}); let weight = count * share; count += ${float(count)};
${combine(names, first, (name) => `block${name}`, (name) => `own${name}`)}
}`;
  // every invocation adds up all parts: no second barrier before the result is everyone's
  const shared = `${
    names.map((name) => `partMeans${name}[t] = mean${name}; partMoments${name}[t] = moment${name};`).join(
      "\n",
    )
  }
partCounts[t] = count; count = 0.0;
${names.map((name) => `mean${name} = 0.0; moment${name} = 0.0;`).join(" ")}
workgroupBarrier();
${
    unroll(parts, (i) => {
      const at = `lane + ${i * lanes}u`;
      return `{ let other = partCounts[${at}]; let share = other / max(count + other, 1.0); let weight = count * share;
${combine(names, first, (name) => `partMeans${name}[${at}]`, (name) => `partMoments${name}[${at}]`)}
count += other; }`;
    })
  }`;
  return `${names.map((name) => `var mean${name} = 0.0; var moment${name} = 0.0;`).join(" ")}
var count = 0.0;
{
var c = part;
for (; c + ${(EACH - 1) * parts}u < ${C}; c += ${EACH * parts}u) ${block(EACH)}
for (; c < ${C}; c += ${parts}u) ${block(1)}
}
${parts > 1 ? shared : ""}`;
}

/** Adds a run to the running means and moments; `weight` is n_a n_b / (n_a + n_b), `share` n_b / (n_a + n_b). */
function combine(
  names: readonly string[],
  first: string,
  mean: (name: string) => string,
  moment: (name: string) => string,
): string {
  return [
    ...names.map((name) => `let to${name} = ${mean(name)} - mean${name};`),
    ...names.map((name) =>
      `moment${name} += ${
        moment(name)
      } + to${first} * to${name} * weight; mean${name} = fma(to${name}, share, mean${name});`
    ),
  ].join("\n");
}

/** Workgroup memory for `moments`. */
export function momentArrays({ parts, lanes }: PixelPlan, names: readonly string[]): string {
  if (parts === 1) return "";
  const list = ["partCounts", ...names.flatMap((name) => [`partMeans${name}`, `partMoments${name}`])];
  return list.map((name) => `var<workgroup> ${name}: array<f32, ${parts * lanes}>;`).join("\n");
}

/** Bytes of it, for this many quantities. */
export function momentBytes({ parts, lanes }: PixelPlan, quantities: number): number {
  return parts === 1 ? 0 : 4 * parts * lanes * (1 + 2 * quantities);
}

/** Declares `lane`, `part`, `id` (the pixel), `base` (where its channels start) and `step` (their distance). */
export function pixelOf({ lanes }: PixelPlan): string {
  return `let lane = t % ${lanes}u; let part = t / ${lanes}u;
let id = (g.y * groups.x + g.x) * ${lanes}u + lane;
let pixel = min(id, parameters.pixels - 1u);
let step = parameters.plane;
let base = pixel / step * (parameters.channels * step) + pixel % step;`;
}

/** The fields that `pixelOf` reads, and epsilon. */
export const PIXEL_FIELDS = { pixels: "u32", channels: "u32", plane: "u32", epsilon: "f32" } as const;

/** statistics; dispatch over ceil(pixels / lanes). */
export function layerNormStatistics(storage: Storage, plan: PixelPlan): Kernel {
  const size = plan.parts * plan.lanes;
  return {
    label: "layerNormStatistics",
    workgroupSize: size,
    workgroupBytes: momentBytes(plan, 1),
    code: `${bindings(["x", arrayOf(storage), "read"], ["statistics", "array<vec2f>", "read_write"])}
${parameters(2, PIXEL_FIELDS)}
${momentArrays(plan, ["X"])}
${main(size)} {
${pixelOf(plan)}
${
      moments(plan, "parameters.channels", [{
        name: "X",
        value: (c) => load(storage, "x", `base + ${c} * step`),
      }])
    }
if (part == 0u && id < parameters.pixels) {
statistics[id] = vec2f(meanX, inverseSqrt(momentX / f32(parameters.channels) + parameters.epsilon));
}
}`,
  };
}
