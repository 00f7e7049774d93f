/**
 * Between a dense depthwise kernel [C, rows, columns] and its spectrum on an L x L plane.
 *
 * planeSpectrum: spectrum = conj(DFT of the kernel placed at the offsets tap - padding, modulo L) / L^2. Taps that meet no
 * pixel are dropped, otherwise they would wrap around. Bindings: kernel, twiddles, spectrum.
 *
 * planeKernelGradient: dk[tap] = Re IDFT(sum over runs of partial)[tap - padding] / L^2, 0 for taps that meet no pixel.
 * Bindings: partial [runs, C, L L], twiddles, dk, parameters { channels, runs }.
 *
 * One workgroup a channel. Both use the phases of the convolution's own planes.
 */
import type { Complex } from "./dft.ts";
import { bindings, float, type Kernel, main, parameters, range, unroll } from "./kernel.ts";
import { type PlaneAxis, usedTaps } from "./planeAxis.ts";
import type { PlanePlan } from "./planeConvolution.ts";
import { PlaneFft } from "./planeFft.ts";
import { PAIR_HELPERS } from "./planePairs.ts";

/** WGSL for the tap that lies at plane index `at` along an axis, and whether it is one that counts. */
function tapAt(axis: PlaneAxis, L: number, at: string): { tap: string; used: string } {
  const { first, last } = usedTaps(axis);
  const nth = `((${at} + ${(((axis.padding - first) % L) + L) % L}u) % ${L}u)`; // of the taps that count
  const tap = first > 0 ? `(${nth} + ${first}u)` : nth;
  return { tap, used: `(${nth} < ${Math.max(0, last - first + 1)}u)` };
}

/** Dense kernel to spectrum; dispatch over channels / 2, rounded up. */
export function planeSpectrum(plan: PlanePlan): Kernel {
  const fft = new PlaneFft(plan.fft), { L, a, b, workgroupSize } = plan.fft;
  const { rows, columns } = plan, column = tapAt(columns, L, "m"), cells = rows.size * columns.size;
  const values = range(b).map((i): Complex => [`k${i}`, `q${i}`]);
  const loads = unroll(b, (i) => {
    const row = tapAt(rows, L, `(n2 + ${i * a}u)`);
    return `var k${i} = 0.0; var q${i} = 0.0; if (${row.used} && ${column.used}) {
let at = ${row.tap} * ${columns.size}u + ${column.tap};
k${i} = kernel[c * ${cells}u + at]; q${i} = kernel[next * ${cells}u + at];
if (!isFinite(k${i})) { bad0 = 1.0; k${i} = 0.0; }
if (!isFinite(q${i})) { bad1 = 1.0; q${i} = 0.0; } }`;
  });
  // z = DFT(k + i q), m its mirror image: DFT(k) = (z + conj m) / 2, DFT(q) = (z - conj m) / 2i; both are conjugated
  const scale = float(0.5 / (L * L));
  const split = unroll(b, (i) => {
    const [plus, plusNext] = i === 0 ? [" + vec2f(nanWhere(bad0))", " + vec2f(nanWhere(bad1))"] : ["", ""];
    const at = (channel: string): string => `spectrum[${channel} * ${L * L}u + ${i * L * a}u + t]`;
    return `${at("c")} = vec2f(z${i}.x + m${i}.x, m${i}.y - z${i}.y) * ${scale}${plus};
if (next > c) { ${at("next")} = vec2f(z${i}.y + m${i}.y, z${i}.x - m${i}.x) * ${scale}${plusNext}; }`;
  });
  const code = `${
    bindings(["kernel", "array<f32>", "read"], ["twiddles", "array<vec2f>", "read"], [
      "spectrum",
      "array<vec2f>",
      "read_write",
    ])
  }
${parameters(3, { channels: "u32" })}
${fft.declare()}
${PAIR_HELPERS}
${main(workgroupSize)} {
var bad0 = 0.0; var bad1 = 0.0;
let c = 2u * g.x; let next = min(c + 1u, parameters.channels - 1u);
${fft.registers()}
${fft.columns(L, values, loads)}${fft.afterColumns(L)}
${fft.twist(L)}${fft.afterTwist()}
${fft.rowsKept()}
${fft.mirrored(split)}
}`;
  return { label: `planeSpectrum L${L}`, code, workgroupSize, workgroupBytes: plan.fft.workgroupBytes };
}

/** Spectral sums to the gradient of the dense kernel. */
export function planeKernelGradient(plan: PlanePlan): Kernel {
  const fft = new PlaneFft(plan.fft), { L, a, b, workgroupSize } = plan.fft;
  const { rows, columns } = plan, column = tapAt(columns, L, "m");
  const unused = (axis: PlaneAxis): boolean => {
    const { first, last } = usedTaps(axis);
    return first > 0 || last < axis.size - 1;
  };
  const clear = unused(rows) || unused(columns)
    ? `for (var e = t; e < ${rows.size * columns.size}u; e += ${workgroupSize}u) { dk[c * ${
      rows.size * columns.size
    }u + e] = 0.0; }
storageBarrier();`
    : "";
  const code = `${
    bindings(["partial", "array<vec2f>", "read"], ["twiddles", "array<vec2f>", "read"], [
      "dk",
      "array<f32>",
      "read_write",
    ])
  }
${parameters(3, { channels: "u32", runs: "u32" })}
${fft.declare()}
${main(workgroupSize)} {
let c = g.x;
${fft.registers()}
${clear}
${unroll(b, (i) => `var s${i} = vec2f(0.0);`, " ")}
for (var run = 0u; run < parameters.runs; run++) {
let base = (run * parameters.channels + c) * ${L * L}u + min(t, ${L * a - 1}u);
${unroll(b, (i) => `s${i} += partial[base + ${i * L * a}u];`)}
}
${fft.rowsBack(range(b).map((i): Complex => [`s${i}.x`, `s${i}.y`]))}${fft.afterRows()}
${fft.twistBack(L)}${fft.afterTwistBack(L)}
${
    fft.columnsBack(L, (values) =>
      unroll(b, (i) => {
        const row = tapAt(rows, L, `(n2 + ${i * a}u)`);
        const at = `c * ${rows.size * columns.size}u + ${row.tap} * ${columns.size}u + ${column.tap}`;
        return `if (${row.used} && ${column.used}) { dk[${at}] = (${values[i][0]}) * ${
          float(1 / (L * L))
        }; }`;
      }))
  }
}`;
  return { label: `planeKernelGradient L${L}`, code, workgroupSize, workgroupBytes: plan.fft.workgroupBytes };
}
