/**
 * Between a dense depthwise kernel [C, rows, columns] and its spectrum on an L x L plane.
 *
 * planeSpectrum: spectrum = conj(DFT of the kernel placed at the offsets tap - padding, modulo L) / L^2. Taps that meet no
 * pixel are dropped, otherwise they would wrap around. Bindings: kernel, twiddles, spectrum.
 *
 * planeKernelGradient: dk[tap] = Re IDFT(sum over runs of partial)[tap - padding] / L^2, 0 for taps that meet no pixel.
 * Bindings: partial [runs, C, L L], twiddles, dk, parameters { channels, runs }.
 *
 * One workgroup a channel: the same phases as the convolution's own planes, so the work is that of C / 2 pairs more.
 */
import type { Complex } from "./dft.ts";
import { bindings, float, type Kernel, main, parameters, range, unroll } from "./kernel.ts";
import { type PlaneAxis, type PlanePlan, usedTaps } from "./planeConvolution.ts";
import { PlaneFft } from "./planeFft.ts";

const BARRIER = "workgroupBarrier();";

/** WGSL for the tap that lies at plane index `at` along an axis, and whether it is one that counts. */
function tapAt(axis: PlaneAxis, L: number, at: string): { tap: string; used: string } {
  const { first, last } = usedTaps(axis);
  const tap = `((${at} + ${axis.padding % L}u) % ${L}u)`;
  const low = first > 0 ? `${tap} >= ${first}u && ` : "";
  return { tap, used: `(${low}${tap} <= ${last}u)` };
}

/** Dense kernel to spectrum. */
export function planeSpectrum(plan: PlanePlan): Kernel {
  const fft = new PlaneFft(plan.fft), { L, a, b, workgroupSize } = plan.fft;
  const { rows, columns } = plan, column = tapAt(columns, L, "m");
  const values = range(b).map((i): Complex => [`k${i}`, "0"]);
  const loads = unroll(b, (i) => {
    const row = tapAt(rows, L, `(n2 + ${i * a}u)`);
    const at = `c * ${rows.size * columns.size}u + ${row.tap} * ${columns.size}u + ${column.tap}`;
    return `var k${i} = 0.0; if (${row.used} && ${column.used}) { k${i} = kernel[${at}]; }`;
  });
  const code = `${
    bindings(["kernel", "array<f32>", "read"], ["twiddles", "array<vec2f>", "read"], [
      "spectrum",
      "array<vec2f>",
      "read_write",
    ])
  }
${fft.declare()}
${main(workgroupSize)} {
let c = g.x;
${fft.columns(L, values, loads)}${BARRIER}
${fft.twist(L)}${BARRIER}
${
    fft.rows((spectrum, dft) => {
      const scale = float(1 / (L * L));
      spectrum.forEach(([re, im], i) =>
        dft.statement(
          `spectrum[c * ${L * L}u + ${i * L * a}u + t] = vec2f((${re}) * ${scale}, -(${im}) * ${scale});`,
        )
      );
      return undefined;
    })
  }
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
${clear}
${unroll(b, (i) => `var s${i} = vec2f(0.0);`, " ")}
for (var run = 0u; run < parameters.runs; run++) {
let base = (run * parameters.channels + c) * ${L * L}u + min(t, ${L * a - 1}u);
${unroll(b, (i) => `s${i} += partial[base + ${i * L * a}u];`)}
}
${fft.rowsBack(range(b).map((i): Complex => [`s${i}.x`, `s${i}.y`]))}${BARRIER}
${fft.twistBack(L)}${BARRIER}
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
