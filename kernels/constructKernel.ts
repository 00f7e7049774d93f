/**
 * constructKernel: kernel[row, cell] = sum over k of weight[row, k] / norm[k] * prod over axes a of f_a[k, cell_a].
 *
 * One workgroup a row. Its elements come in chunks: first a table of the per-axis factors f_a[k, i] in workgroup
 * memory (A K S values instead of K S^A), then each element's weight / norm (norm = prod of the axes' sums + 1e-7
 * where the version is normalised), then every invocation adds up its cells. Memory is O(output).
 *
 * Bindings: weight [rows, K], P [A, rows, K], SIG [A, rows, K] (versions with a spread), kernel [rows, cells],
 * parameters { rows }.
 */
import { EPSILON, INTERPOLATION } from "../src/interpolation.ts";
import type { Shape, Version } from "../src/spec.ts";
import { factorCode } from "./interpolation.ts";
import { bindings, float, IS_NAN, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

/** What the code depends on. */
export interface ConstructionPlan {
  readonly version: Version;
  readonly spreadOffset: number;
  readonly size: Shape;
  readonly kernelCount: number;
}

/** Workgroup memory that the tables may take. */
const TABLE_BYTES = 12 * 1024;

/** Elements whose tables fit into workgroup memory together. */
export function chunkOf({ size, kernelCount }: ConstructionPlan, tables: number): number {
  const perElement = 4 * (tables * size.reduce((a, b) => a + b) + 1);
  return Math.max(1, Math.min(kernelCount, Math.floor(TABLE_BYTES / perElement)));
}

/** Where axis a's part of a table begins, in values. */
export function tableOffset(size: Shape, axis: number, chunk: number): number {
  return size.slice(0, axis).reduce((a, b) => a + b, 0) * chunk;
}

/**
 * Fills the tables `names` for the elements k0 .. k0 + chunk - 1. A NaN position makes its factors NaN instead of
 * falling between the cells.
 */
export function fillTables(
  plan: ConstructionPlan,
  chunk: number,
  workgroupSize: number,
  derivatives: boolean,
): string {
  const { version, size, kernelCount: K, spreadOffset } = plan;
  const spread = INTERPOLATION[version].spread;
  return size.map((S, a) => {
    const at = `${tableOffset(size, a, chunk)}u + e`;
    const source = `(${a}u * parameters.rows + row) * ${K}u + k`;
    return `for (var e = t; e < ${chunk * S}u; e += ${workgroupSize}u) {
  let k = k0 + e / ${S}u;
  if (k < ${K}u) {
    let cell = f32(i32(e % ${S}u) - ${Math.floor(S / 2)});
    let p = P[${source}];
    ${spread ? `let s = abs(SIG[${source}]) + ${float(spreadOffset)};` : ""}
    ${factorCode(version, derivatives)}
    factors[${at}] = select(f, p, isNaN(p));
    ${derivatives ? `byPosition[${at}] = fp;${spread ? ` bySpread[${at}] = fs;` : ""}` : ""}
  }
}`;
  }).join("\n");
}

/** The kernel of one row per workgroup. */
export function constructKernel(plan: ConstructionPlan): Kernel {
  const { version, size, kernelCount: K } = plan;
  const { spread, normalised } = INTERPOLATION[version];
  const cells = size.reduce((a, b) => a * b, 1);
  const T = cells <= 64 ? 64 : 128;
  const chunk = chunkOf(plan, 1);
  const sums = (a: number): string =>
    `var z${a} = 0.0; for (var i = 0u; i < ${size[a]}u; i++) { z${a} += factors[${
      tableOffset(size, a, chunk)
    }u + e * ${size[a]}u + i]; }`;
  const axes = range(size.length);
  const cellAxes = axes.map((a) => {
    const after = size.slice(a + 1).reduce((x, y) => x * y, 1);
    return `let i${a} = ${tableOffset(size, a, chunk)}u + cell / ${after}u % ${size[a]}u;`;
  }).join(" ");
  const product = axes.map((a) => `factors[i${a} + e * ${size[a]}u]`).join(" * ");
  const inputs: [string, string, "read"][] = [["weight", "array<f32>", "read"], ["P", "array<f32>", "read"]];
  if (spread) inputs.push(["SIG", "array<f32>", "read"]);
  const chunks = Math.ceil(K / chunk);
  const code = `${bindings(...inputs, ["kernel", "array<f32>", "read_write"])}
${parameters(inputs.length + 1, { rows: "u32" })}
${IS_NAN}
var<workgroup> factors: array<f32, ${tableOffset(size, size.length, chunk)}>;
var<workgroup> scale: array<f32, ${chunk}>;
${main(T)} {
let row = g.y * groups.x + g.x;
if (row >= parameters.rows) { return; }
for (var k0 = 0u; k0 < ${K}u; k0 += ${chunk}u) {
${fillTables(plan, chunk, T, false)}
workgroupBarrier();
for (var e = t; e < min(${chunk}u, ${K}u - k0); e += ${T}u) {
  let w = weight[row * ${K}u + k0 + e];
  ${
    normalised
      ? `${unroll(size.length, sums)} scale[e] = w / (${axes.map((a) => `z${a}`).join(" * ")} + ${
        float(EPSILON)
      });`
      : "scale[e] = w;"
  }
}
workgroupBarrier();
for (var cell = t; cell < ${cells}u; cell += ${T}u) {
  ${cellAxes}
  var v = 0.0;
  for (var e = 0u; e < min(${chunk}u, ${K}u - k0); e++) { v += scale[e] * ${product}; }
  let at = row * ${cells}u + cell;
  ${chunks > 1 ? "if (k0 > 0u) { v += kernel[at]; }" : ""}
  kernel[at] = v;
}
${chunks > 1 ? "workgroupBarrier();" : ""}
}
}`;
  return {
    label: `constructKernel ${version} ${size.join("x")} K${K}`,
    workgroupSize: T,
    workgroupBytes: 4 * (tableOffset(size, size.length, chunk) + chunk),
    code,
  };
}
