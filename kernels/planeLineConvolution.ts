/**
 * planeConvolution and planeConvBackward by lines: what they compute is said in planeConvolution.ts, how the transforms
 * work and why, for software adapters, in planeLines.ts.
 *
 * One workgroup of 8 lanes takes `turns` channels and, in each, a run of items: image pairs and their tiles, one after the
 * other. The spectrum and the transforms of x wait in memory as [channel][column][lane][m]: a lane reads back what it wrote.
 *
 * Bindings of planeLineConvolution: x, spectrum, twiddles, bias (optional), y, parameters.
 * Bindings of planeLineBackward: x, dy, twiddles, (spectrum,) transforms [groups x, runs, L L], partial [runs, C, L L],
 * (dx,) parameters { channels, count, run, turns }.
 */
import type { Complex } from "./dft.ts";
import { bindings, type Kernel, main, parameters, range } from "./kernel.ts";
import { LINE_HELPERS, LINE_WORKGROUP, overItems, TensorRows } from "./planeLineRows.ts";
import { PlaneLines } from "./planeLines.ts";
import type { TilePlan } from "./planeTiles.ts";

const PARAMETERS = { channels: "u32", count: "u32", run: "u32", turns: "u32" } as const;

function describe({ rows, columns, storage }: TilePlan): string {
  return `L${rows.L}x${columns.L}${rows.cut || columns.cut ? " tiles" : ""}${
    storage === "f16" ? " f16" : ""
  }`;
}

/** Multiplies by a spectrum in memory, or by its conjugate. */
function filtered(lines: PlaneLines, values: readonly Complex[], conjugate: boolean): Complex[] {
  const pairs = range(values.length / 2).map((q) =>
    lines.dft.let(lines.spectralPair("spectrum", `c * ${lines.spectralSize}u`, q))
  );
  return values.map((z, j) =>
    lines.dft.multiply(z, `${pairs[j >> 1]}.${j % 2 === 0 ? "xy" : "zw"}`, conjugate)
  );
}

/** y = convolution of x, or the gradient to the input (`toInput`: x is dy then, and sizes are exchanged). */
export function planeLineConvolution(plan: TilePlan, hasBias: boolean, toInput = false): Kernel {
  const lines = new PlaneLines(plan);
  const x = new TensorRows(lines, {
    name: "x",
    of: toInput ? "output" : "input",
    halo: toInput ? "toInput" : "forward",
  });
  const y = new TensorRows(lines, { name: "y", of: toInput ? "input" : "output" });
  const list: Parameters<typeof bindings> = [
    ["x", x.type, "read"],
    ["spectrum", "array<vec4f>", "read"],
    ["twiddles", "array<vec2f>", "read"],
    ...(hasBias ? [["bias", "array<f32>", "read"] as [string, string, "read"]] : []),
    ["y", y.type, "read_write"],
  ];
  const item = `${x.images()}
${y.images()}
var add0 = ${hasBias ? "bias[c]" : "0.0"}; var add1 = add0;
{ ${x.load()}
add0 += nanWhere(subgroupAny(spoiled0)); add1 += nanWhere(subgroupAny(spoiled1)); }
${lines.overColumns(() => lines.storeColumn(filtered(lines, lines.loadColumn(x.pairs), toInput), y.pairs))}
{ ${y.store("add")} }`;
  const code = `${bindings(...list)}
${parameters(list.length, PARAMETERS)}
${lines.declare()}
${LINE_HELPERS}
${main(LINE_WORKGROUP)} {
${lines.constants()}
${overItems(lines, y, item)}
}`;
  return {
    label: `planeConvolution by lines, ${describe(plan)}${toInput ? " to input" : ""}`,
    code,
    workgroupSize: LINE_WORKGROUP,
    workgroupBytes: plan.workgroupBytes,
  };
}

/**
 * Reads x and dy, writes dx (where wanted) and, per run, the sum over its images of conj(G) X. Tiles are of x, each once,
 * with the part of dy that meets them. No atomics: the same sums every time.
 */
export function planeLineBackward(plan: TilePlan, inputGradient: boolean): Kernel {
  const lines = new PlaneLines(plan), { dft } = lines, half = lines.column.m / 2;
  const x = new TensorRows(lines, { name: "x", of: "input" });
  const dy = new TensorRows(lines, { name: "dy", of: "output", halo: "toInput" });
  const dx = new TensorRows(lines, { name: "dx", of: "input" });
  const list: Parameters<typeof bindings> = [
    ["x", x.type, "read"],
    ["dy", dy.type, "read"],
    ["twiddles", "array<vec2f>", "read"],
    ...(inputGradient ? [["spectrum", "array<vec4f>", "read"] as [string, string, "read"]] : []),
    ["transforms", "array<vec4f>", "read_write"],
    ["partial", "array<vec4f>", "read_write"],
    ...(inputGradient ? [["dx", dx.type, "read_write"] as [string, string, "read_write"]] : []),
  ];
  const keep = lines.overColumns(() => {
    const values = lines.loadColumn(x.pairs);
    for (let q = 0; q < half; q++) {
      dft.statement(
        `${lines.spectralPair("transforms", "own", q)} = vec4f(${values[2 * q]}, ${values[2 * q + 1]});`,
      );
    }
  });
  const use = lines.overColumns(() => {
    const values = lines.loadColumn(dy.pairs);
    for (let q = 0; q < half; q++) {
      const x = dft.let(lines.spectralPair("transforms", "own", q));
      const [a, b] = [values[2 * q], values[2 * q + 1]].map(([re, im], k) => {
        const [xre, xim] = k === 0 ? [`${x}.x`, `${x}.y`] : [`${x}.z`, `${x}.w`];
        return `fma(${re}, ${xre}, (${im}) * ${xim}), fma(${re}, ${xim}, -(${im}) * ${xre})`;
      });
      const sum = lines.spectralPair("partial", "sums", q);
      dft.statement(`var sum${q} = vec4f(${a}, ${b}) + vec4f(poison);
if (item > first) { sum${q} += ${sum}; }
${sum} = sum${q};`);
    }
    if (inputGradient) lines.storeColumn(filtered(lines, values, true), dx.pairs);
  });
  const item = `${x.images()}
${dy.images()}
${inputGradient ? dx.images() : ""}
var poison = 0.0; var add0 = 0.0; var add1 = 0.0;
{ ${x.load()}
poison += nanWhere(subgroupAny(spoiled0 | spoiled1)); }
${keep}
{ ${dy.load()}
add0 = nanWhere(subgroupAny(spoiled0)); add1 = nanWhere(subgroupAny(spoiled1)); poison += add0 + add1; }
${use}
${inputGradient ? `{ ${dx.store("add")} }` : ""}`;
  const code = `${bindings(...list)}
${parameters(list.length, PARAMETERS)}
${lines.declare()}
${LINE_HELPERS}
${main(LINE_WORKGROUP)} {
${lines.constants()}
let own = (g.y * groups.x + g.x) * ${lines.spectralSize}u;
${overItems(lines, x, item, `let sums = (g.y * parameters.channels + c) * ${lines.spectralSize}u;`)}
}`;
  return {
    label: `planeConvBackward by lines, ${describe(plan)}`,
    code,
    workgroupSize: LINE_WORKGROUP,
    workgroupBytes: plan.workgroupBytes,
  };
}
