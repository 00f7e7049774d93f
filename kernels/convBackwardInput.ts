/**
 * convBackwardInput: dx[n, group I + i, p] = sum over o in the group, t of kernel[o, i, t] dy[n, o, (p + padding - t dilation) / stride],
 * over the taps for which the division leaves no remainder.
 *
 * At stride 1 this is the forward kernel with mirrored taps and padding dilation (size - 1) - padding, see
 * `mirroredGeometry`. Otherwise the plain kernel below: one invocation an input pixel.
 *
 * Bindings: dy, kernel, dx, parameters { items }.
 */
import type { ConvolutionGeometry } from "./convolution.ts";
import { bindings, flatId, type Kernel, main, parameters } from "./kernel.ts";

const SIZE = 64;

/** The forward convolution over dy that gives dx at stride 1; its padding may be negative. */
export function mirroredGeometry(geometry: ConvolutionGeometry): ConvolutionGeometry {
  const { inChannels, outChannels, input, output, size, padding, dilation } = geometry;
  return {
    ...geometry,
    inChannels: outChannels,
    outChannels: inChannels,
    input: output,
    output: input,
    padding: padding.map((p, a) => dilation[a] * (size[a] - 1) - p),
  };
}

/** The plain kernel, any stride. */
export function convBackwardInput(geometry: ConvolutionGeometry): Kernel {
  const { inChannels: C, outChannels: O, groups, input, output, size, stride, padding, dilation } = geometry;
  const I = C / groups, J = O / groups, cells = size[0] * size[1] * size[2];
  const axisLoop = (a: number, name: string, body: string): string =>
    `for (var k${name} = 0u; k${name} < ${size[a]}u; k${name}++) {
let q${name} = i${name} + ${padding[a]} - i32(k${name} * ${dilation[a]}u); let o${name} = q${name} / ${
      stride[a]
    };
if (q${name} >= 0 && o${name} < ${output[a]}${stride[a] > 1 ? ` && q${name} % ${stride[a]} == 0` : ""}) {
${body} } }`;
  const body = `let at = (n * ${O}u + group * ${J}u) * ${output[0] * output[1] * output[2]}u + (u32(oz) * ${
    output[1]
  }u + u32(oy)) * ${output[2]}u + u32(ox);
let tap = (group * ${J * I}u + i) * ${cells}u + (kz * ${size[1]}u + ky) * ${size[2]}u + kx;
for (var o = 0u; o < ${J}u; o++) { s += kernel[tap + o * ${I * cells}u] * dy[at + o * ${
    output[0] * output[1] * output[2]
  }u]; }`;
  const code = `${
    bindings(["dy", "array<f32>", "read"], ["kernel", "array<f32>", "read"], [
      "dx",
      "array<f32>",
      "read_write",
    ])
  }
${parameters(3, { items: "u32" })}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.items) { return; }
let ix = i32(id % ${input[2]}u); let iy = i32(id / ${input[2]}u % ${input[1]}u);
let iz = i32(id / ${input[1] * input[2]}u % ${input[0]}u);
let c = id / ${input[0] * input[1] * input[2]}u % ${C}u; let n = id / ${C * input[0] * input[1] * input[2]}u;
let group = c / ${I}u; let i = c % ${I}u;
var s = 0.0;
${axisLoop(0, "z", axisLoop(1, "y", axisLoop(2, "x", body)))}
dx[id] = s;
}`;
  return { label: `convBackwardInput ${size.join("x")}`, workgroupSize: SIZE, workgroupBytes: 0, code };
}
