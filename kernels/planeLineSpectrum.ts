/**
 * planeSpectrum and planeKernelGradient by lines: between a dense depthwise kernel [C, rows, columns] and its spectrum, as
 * in planeSpectrum.ts, laid out as [channel][column][lane][m] (planeLines.ts).
 *
 * The taps that count become the first rows of a plane; a turn of the phase moves them where their offsets lie. So the plane
 * holds no more rows than there are taps. One workgroup of 8 lanes a channel.
 *
 * Bindings of planeLineSpectrum: kernel, twiddles (with those of the shift), spectrum, parameters { channels }.
 * Bindings of planeLineGradient: partial [runs, C, L L], twiddles, dk, parameters { channels, runs }.
 */
import type { Complex } from "./dft.ts";
import { bindings, float, type Kernel, main, parameters, range, unroll } from "./kernel.ts";
import { offsetsOf, usedTaps } from "./planeAxis.ts";
import { LINE_WORKGROUP } from "./planeLineRows.ts";
import { PlaneLines, planeTwiddles, shiftTwiddles } from "./planeLines.ts";
import { tapCount, type TileAxis, type TilePlan } from "./planeTiles.ts";

/** The `twiddles` of both kernels here. */
export function tapTwiddles(plan: TilePlan): Float32Array {
  return Float32Array.from([
    ...planeTwiddles(plan),
    ...shiftTwiddles(plan.rows.L, offsetsOf(plan.rows).low),
  ]);
}

/** Declares `shift{j}`: what moves the first row to the offset of the first tap. */
function shifts(lines: PlaneLines): string {
  const { m } = lines.column;
  return unroll(m, (j) => `let shift${j} = twiddles[${lines.tableEnd}u + lane * ${m}u + ${j}u];`);
}

/** Declares `tap{i}`: which of the counting taps lies at column m lane + i, none from their number on. */
function taps(axis: TileAxis, m: number): string {
  const { L } = axis, low = ((offsetsOf(axis).low % L) + L) % L;
  return unroll(m, (i) => `let tap${i} = (lane * ${m}u + ${i + L - low}u) % ${L}u;`);
}

/** Dense kernel to spectrum; dispatch over channels. */
export function planeLineSpectrum(plan: TilePlan): Kernel {
  const lines = new PlaneLines(plan), { dft } = lines, { rows, columns } = plan;
  const down = tapCount(rows), across = tapCount(columns), pairs = Math.ceil(down / 2);
  const scale = float(1 / (rows.L * columns.L));
  const loaded = ([0, 1] as const).map((k) =>
    lines.row.forward(
      range(lines.row.m).map((i): Complex => {
        const present = k === 1 && down % 2 === 1 ? ` && rows < ${pairs - 1}u` : "";
        dft.statement(`var k${k}_${i} = 0.0; if (tap${i} < ${across}u${present}) {
k${k}_${i} = kernel[begin + (2u * rows + ${k}u) * ${columns.size}u + tap${i}] * ${scale}; }`);
        return [`k${k}_${i}`, "zero"];
      }),
    )
  );
  const loop = `for (var rows = 0u; rows < ${pairs}u; rows++) {
${lines.storeRows(loaded[0], loaded[1])}
}
workgroupBarrier();`;
  const turned = lines.overColumns(() => {
    const values = lines.loadColumn(pairs).map((z, j) => dft.multiply(z, `shift${j}`));
    for (let q = 0; q < values.length / 2; q++) {
      const [[a, b], [c, d]] = [values[2 * q], values[2 * q + 1]];
      const place = lines.spectralPair("spectrum", `c * ${lines.spectralSize}u`, q);
      dft.statement(`${place} = vec4f(${a}, -(${b}), ${c}, -(${d}));`);
    }
  });
  const first = usedTaps(rows).first * columns.size + usedTaps(columns).first;
  const code = `${
    bindings(["kernel", "array<f32>", "read"], ["twiddles", "array<vec2f>", "read"], [
      "spectrum",
      "array<vec4f>",
      "read_write",
    ])
  }
${parameters(3, { channels: "u32" })}
${lines.declare()}
${main(LINE_WORKGROUP)} {
${lines.constants()}
${shifts(lines)}
${taps(columns, lines.row.m)}
let c = g.y * groups.x + g.x;
if (c >= parameters.channels) { return; }
let begin = c * ${rows.size * columns.size}u + ${first}u; let zero = 0.0;
${loop}
${turned}
}`;
  return {
    label: `planeSpectrum by lines, L${rows.L}x${columns.L}`,
    code,
    workgroupSize: LINE_WORKGROUP,
    workgroupBytes: plan.workgroupBytes,
  };
}

/** Spectral sums to the gradient of the dense kernel; dispatch over channels. */
export function planeLineGradient(plan: TilePlan): Kernel {
  const lines = new PlaneLines(plan), { dft } = lines, { rows, columns } = plan;
  const down = tapCount(rows), across = tapCount(columns), pairs = Math.ceil(down / 2);
  const cells = rows.size * columns.size, scale = float(1 / (rows.L * columns.L));
  const half = lines.column.m / 2;
  const columnsBack = lines.overColumns(() => {
    dft.statement(`${unroll(half, (q) => `var sum${q} = vec4f(0.0);`, " ")}
for (var run = 0u; run < lastRun; run++) {
let begin = (run * parameters.channels + c) * ${lines.spectralSize}u;
${unroll(half, (q) => `sum${q} += ${lines.spectralPair("partial", "begin", q)};`)}
}`);
    const values = range(2 * half).map((j): Complex => {
      const sum = `sum${j >> 1}`;
      return j % 2 === 0 ? [`${sum}.x`, `${sum}.y`] : [`${sum}.z`, `${sum}.w`];
    });
    lines.storeColumn(values.map((z, j) => dft.multiply(z, `shift${j}`, true)), pairs);
  });
  const both = lines.loadRows();
  const first = usedTaps(rows).first * columns.size + usedTaps(columns).first;
  both.forEach((row, k) =>
    row.forEach(([re], i) => {
      const present = k === 1 && down % 2 === 1 ? ` && rows < ${pairs - 1}u` : "";
      dft.statement(`if (tap${i} < ${across}u${present}) {
dk[c * ${cells}u + ${first}u + (2u * rows + ${k}u) * ${columns.size}u + tap${i}] = (${re}) * ${scale}; }`);
    })
  );
  const unused = down < rows.size || across < columns.size;
  const inside = (axis: TileAxis, at: string): string => {
    const { first, last } = usedTaps(axis);
    return `${at} >= ${first}u && ${at} < ${Math.max(first, last + 1)}u`;
  };
  const clear = unused
    ? `for (var e = lane; e < ${cells}u; e += ${LINE_WORKGROUP}u) {
if (!(${inside(rows, `e / ${columns.size}u`)} && ${inside(columns, `e % ${columns.size}u`)})) {
dk[c * ${cells}u + e] = 0.0; } }`
    : "";
  const code = `${
    bindings(["partial", "array<vec4f>", "read"], ["twiddles", "array<vec2f>", "read"], [
      "dk",
      "array<f32>",
      "read_write",
    ])
  }
${parameters(3, { channels: "u32", runs: "u32" })}
${lines.declare()}
${main(LINE_WORKGROUP)} {
${lines.constants()}
${shifts(lines)}
${taps(columns, lines.row.m)}
let c = g.y * groups.x + g.x;
if (c >= parameters.channels) { return; }
let lastRun = min(parameters.runs, parameters.runs + g.x);
${clear}
${columnsBack}
for (var rows = 0u; rows < ${pairs}u; rows++) {
${dft.take()}
}
}`;
  return {
    label: `planeKernelGradient by lines, L${rows.L}x${columns.L}`,
    code,
    workgroupSize: LINE_WORKGROUP,
    workgroupBytes: plan.workgroupBytes,
  };
}
