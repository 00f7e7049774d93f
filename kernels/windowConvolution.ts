/**
 * windowConvolution: depthwise convolution (its formula and bindings), 2-d, stride 1, up to 9x9 taps. For GPUs.
 *
 * One invocation computes 4 columns by `rows` rows. Every row of its window comes straight from memory, neighbouring
 * invocations hit the same cache lines, and runs into all the output rows that it meets: no staging, and no barrier
 * but the one for the taps. Where both widths are multiples of 4, three or four vec4 are a window's row.
 *
 * H100, 128 images (prototype): 96 x 56², 7x7 0.148 ms with 4 rows (1 row 0.216, 2 0.151, 7 0.160, 8 0.161), 5x5 0.132, 9x9
 * 0.213 (FFT 0.145); 192 x 28² 0.085 with 2 rows (1 row 0.106, 4 0.088, 7 0.098). With planes staged in workgroup memory: slower.
 */
import { axisOf, cellsOf, meetings } from "./axis.ts";
import type { ConvolutionGeometry, TapOrder } from "./convolution.ts";
import { bindings, type Kernel, load, main, parameters, range, type Storage, unroll } from "./kernel.ts";

const SIZE = 256;
const COLUMNS = 4;
/** The largest size along an axis: beyond, the window's taps no longer fit registers. */
export const WINDOW_SIZE = 9;

/** Whether it computes this: depthwise, 2-d, stride 1, not dilated. */
export function isFlatDepthwise(geometry: ConvolutionGeometry): boolean {
  const { inChannels, outChannels, groups, input, size, padding, stride, dilation, spread } = geometry;
  return inChannels === groups && outChannels === groups && input[0] === 1 && size[0] === 1 &&
    padding[0] === 0 &&
    [...stride, ...dilation, ...(spread ?? [])].every((step) => step === 1);
}

/** Output rows per invocation, and invocations per plane. */
export function windowTile({ output }: ConvolutionGeometry): { rows: number; perPlane: number } {
  const rows = output[1] > 40 ? 4 : 2;
  return { rows, perPlane: Math.ceil(output[2] / COLUMNS) * Math.ceil(output[1] / rows) };
}

/** The kernel; dispatch over items / 256 workgroups (x) by channels (y, then z), items = n * perPlane. */
export function windowConvolution(
  geometry: ConvolutionGeometry,
  hasBias: boolean,
  order: TapOrder = "forward",
  storage: Storage = "f32",
): Kernel {
  const { groups: C, input, output, size } = geometry;
  const down = axisOf(geometry, 1), across = axisOf(geometry, 2), cells = size[1] * size[2];
  const { rows, perPlane } = windowTile(geometry), quads = Math.ceil(output[2] / COLUMNS);
  const wide = input[2] % 4 === 0 && output[2] % 4 === 0, unit = wide ? 4 : 1;
  const type = wide ? (storage === "f32" ? "array<vec4f>" : "array<vec4<f16>>") : `array<${storage}>`;
  const window = cellsOf(meetings(across, COLUMNS)),
    fours = [...new Set(window.map((c) => Math.floor(c / 4)))];
  const name = (prefix: string, at: number): string => `${prefix}${String(at).replace("-", "m")}`;
  const column = (c: number): string =>
    wide ? `${name("f", Math.floor(c / 4))}.${"xyzw"[c & 3]}` : name("e", c);
  const value = (index: string): string =>
    wide && storage === "f16" ? `vec4f(x[${index}])` : load(wide ? "f32" : storage, "x", index);
  const guarded = (variable: string, at: number, first: string, most: number, zero: string): string =>
    `var ${variable} = ${zero}; if (${first} + ${at} >= 0 && ${first} + ${at} < ${most}) { ${variable} = ${
      value(`u32(row + ${first} + ${at})`)
    }; }`;
  const read = wide
    ? fours.map((four) => guarded(name("f", four), four, "quad", input[2] / 4, "vec4f()")).join("\n")
    : window.map((c) => guarded(name("e", c), c, "ox", input[2], "0.0")).join("\n");
  const met = meetings(down, rows);
  const body = cellsOf(met).map((iy) =>
    `{ let iy = i32(oy) + ${iy};
if (iy >= 0 && iy < ${input[1]}) { let row = base + iy * ${input[2] / unit};
${read}
${
      unroll(
        size[2],
        (k) => `let v${k} = vec4f(${range(4).map((j) => column(j + k - across.padding)).join(", ")});`,
        " ",
      )
    }
${
      met.filter(({ cell }) => cell === iy).map(({ j, k: ky }) =>
        unroll(size[2], (kx) => `a${j} = fma(v${kx}, vec4f(w${ky}_${kx}), a${j});`, " ")
      ).join("\n")
    }
} }`
  ).join("\n");
  const stores = unroll(rows, (r) => {
    const at = `out + ${r * output[2] / unit}u`;
    const line = wide ? `y[${at}] = ${storage === "f16" ? `vec4<f16>(a${r})` : `a${r}`};` : unroll(4, (j) => {
      const one = `y[${at} + ${j}u] = ${
        storage === "f16" ? `f16(a${r}.${"xyzw"[j]})` : `a${r}.${"xyzw"[j]}`
      };`;
      return (quads - 1) * 4 + j < output[2] ? one : `if (ox + ${j} < ${output[2]}) { ${one} }`;
    }, " ");
    return output[1] % rows === 0 ? line : `if (oy + ${r}u < ${output[1]}u) { ${line} }`;
  });
  const tap = order === "forward" ? "t" : `${cells - 1}u - t`;
  const inputs: [string, string, "read"][] = [["x", type, "read"], ["kernel", "array<f32>", "read"]];
  if (hasBias) inputs.push(["bias", "array<f32>", "read"]);
  const code = `${bindings(...inputs, ["y", type, "read_write"])}
${parameters(inputs.length + 1, { items: "u32", first: "u32", xStart: "u32", yStart: "u32" })}
var<workgroup> taps: array<f32, ${cells}>;
${main(SIZE)} {
let c = g.z * groups.y + g.y;
if (c >= ${C}u) { return; }
if (t < ${cells}u) { taps[t] = kernel[c * ${cells}u + ${tap}]; }
workgroupBarrier();
let item = (parameters.first + g.x) * ${SIZE}u + t;
if (item >= parameters.items) { return; }
let n = item / ${perPlane}u; let tile = item % ${perPlane}u;
let quad = i32(tile % ${quads}u); let ox = quad * 4; let oy = tile / ${quads}u * ${rows}u;
let base = i32(parameters.xStart / ${unit}u + (n * ${C}u + c) * ${input[1] * input[2] / unit}u);
let out = parameters.yStart / ${unit}u + (n * ${C}u + c) * ${output[1] * output[2] / unit}u + oy * ${
    output[2] / unit
  }u + u32(${wide ? "quad" : "ox"});
${unroll(size[1], (ky) => unroll(size[2], (kx) => `let w${ky}_${kx} = taps[${ky * size[2] + kx}];`, " "))}
${unroll(rows, (r) => `var a${r} = vec4f(${hasBias ? "bias[c]" : "0.0"});`, " ")}
${body}
${stores}
}`;
  return {
    label: `windowConvolution ${order} ${size.join("x")}`,
    workgroupSize: SIZE,
    workgroupBytes: 4 * cells,
    code,
  };
}
