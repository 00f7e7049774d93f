/** pointwiseResidual on WebGPU. */
import {
  pointwiseResidual as productKernel,
  pointwiseResidualBackwardInput,
  pointwiseResidualForm,
  pointwiseResidualInputForm,
  pointwiseResidualParameters,
  scaleRows,
} from "../../../kernels/pointwiseResidual.ts";
import { LANES } from "../../../kernels/elementwise.ts";
import type { PointwiseGeometry } from "../../../kernels/pointwise.ts";
import type { PointwiseResidualAttributes } from "../../ops/pointwiseResidual.ts";
import { type BufferView, type GpuBuffer, part } from "../buffers.ts";
import type { Gpu } from "../gpu.ts";
import { batchSlices, flatGroups } from "../limits.ts";
import { dispatchGemm, gemmPlan } from "./gemm.ts";
import { bytesOf, type GpuOp, type GpuOperand, output, storageOf } from "./op.ts";
import { planes } from "./planes.ts";
import { weightGradient } from "./pointwise.ts";
import { unary } from "./unary.ts";

const GELU = { kind: "gelu", scale: 1, offset: 0 } as const;

/** What the op was given. */
type Inputs = readonly (GpuOperand | null)[];

/** gelu(x) as a new tensor. */
function activated(gpu: Gpu, x: GpuOperand): GpuOperand {
  return { ...x, handle: unary.forward(gpu, [x], GELU, x.shape) };
}

/** x `[items, rows, inner]`, every row times its factor; or, with a factor for each item, rows 1. A new buffer. */
function scaled(
  gpu: Gpu,
  x: GpuBuffer,
  factors: GpuBuffer,
  { items, rows, inner }: { readonly items: number; readonly rows: number; readonly inner: number },
  perItem = false,
): GpuBuffer {
  const itemBytes = 4 * rows * inner, y = gpu.buffers.take(items * itemBytes, "scaleRows");
  const kernel = gpu.kernel("scaleRows", scaleRows);
  for (const { first, count } of batchSlices(items, [itemBytes], gpu.limits)) {
    const fours = Math.ceil(count * rows * inner / LANES);
    const cut = (of: GpuBuffer): BufferView => ({ of, offset: first * itemBytes, bytes: 16 * fours });
    const groups = flatGroups(Math.ceil(fours / kernel.workgroupSize), gpu.limits);
    const words = perItem ? [fours, rows * inner, items, first] : [fours, inner, rows, 0];
    gpu.dispatch(kernel, [cut(x), factors, cut(y)], groups, words);
  }
  return y;
}

const geometryOf = (x: GpuOperand, outChannels: number): PointwiseGeometry => ({
  inChannels: x.shape[1],
  outChannels,
  pixels: planes(x.shape).pixels,
});

/** dx, and f(x) where it is wanted and not x itself; `weight` or `gradient` hold the scale. */
function inputGradient(
  gpu: Gpu,
  x: GpuOperand,
  weight: GpuBuffer,
  gradient: GpuBuffer,
  geometry: PointwiseGeometry,
  options: { readonly gelu: boolean; readonly activated: boolean },
): [dx: GpuBuffer, activated: GpuBuffer | null] {
  const { inChannels: rows, outChannels: depth, pixels } = geometry, batch = x.shape[0];
  const plan = gemmPlan(gpu, rows, batch * pixels);
  const form = pointwiseResidualInputForm(geometry, options, plan);
  const kernel = gpu.kernel(
    `pointwiseResidual dx ${JSON.stringify(form)}`,
    () => pointwiseResidualBackwardInput(form),
  );
  const dx = output(gpu, x.shape, "pointwiseResidual dx");
  const values = options.gelu && options.activated ? output(gpu, x.shape, "pointwiseResidual f(x)") : null;
  const [gradientBytes, xBytes] = [depth, rows].map((channels) => 4 * channels * pixels);
  for (const { first, count } of batchSlices(batch, [gradientBytes, xBytes], gpu.limits)) {
    const own = [...options.gelu ? [x.handle] : [], dx, ...values ? [values] : []];
    const views = [
      part(gradient, first, count, gradientBytes),
      weight,
      ...own.map((buffer) => part(buffer, first, count, xBytes)),
    ];
    const columns = count * pixels;
    dispatchGemm(gpu, kernel, plan, views, { rows, columns }, [rows, columns, depth, pixels]);
  }
  return [dx, values];
}

/** The gradients of weight, bias and scale, from the sums over all pixels. */
function parameterGradients(gpu: Gpu, T: GpuBuffer, [, weight, bias, scale]: Inputs): (GpuBuffer | null)[] {
  const [rows, channels] = weight!.shape;
  const take = (elements: number): GpuBuffer => gpu.buffers.take(4 * elements, "pointwiseResidual gradient");
  const dweight = take(rows * channels), dbias = bias && take(rows), dscale = take(rows);
  const width = channels % 4 === 0 ? 4 : 1;
  const kernel = gpu.kernel(
    `pointwiseResidual parameters ${bias !== null} ${width}`,
    () => pointwiseResidualParameters(bias !== null, width),
  );
  const one = (): GpuBuffer => gpu.constant(`ones ${rows}`, () => new Float32Array(rows).fill(1));
  const views = [
    ...[T, weight!.handle, scale?.handle ?? one()],
    ...bias ? [bias.handle] : [],
    dweight,
    ...dbias ? [dbias] : [],
    dscale,
  ];
  gpu.dispatch(kernel, views, flatGroups(rows, gpu.limits), [rows, channels]);
  return [dweight, dbias, dscale];
}

/** The gradients of x, weight, bias and scale; `dy` holds keep. */
function gradients(gpu: Gpu, dy: GpuBuffer, inputs: Inputs, gelu: boolean, needs: readonly boolean[]) {
  const [x, weight, , scale] = inputs, [rows, channels] = weight!.shape;
  const { batch, pixels } = planes(x!.shape), geometry = geometryOf(x!, rows);
  const sums = needs[1] || needs[2] || needs[3];
  let dx: GpuBuffer | null = null, values: GpuBuffer | null = null;
  if (needs[0]) {
    // scale goes into what is smaller
    const image = channels > batch * pixels;
    const [from, cut] = image
      ? [dy, { items: batch, rows, inner: pixels }]
      : [weight!.handle, { items: 1, rows, inner: channels }];
    const product = scale && scaled(gpu, from, scale.handle, cut);
    [dx, values] = inputGradient(
      gpu,
      x!,
      image ? weight!.handle : product ?? weight!.handle,
      image ? product ?? dy : dy,
      geometry,
      { gelu, activated: sums },
    );
    if (product) gpu.buffers.release(product);
  } else if (sums && gelu) values = activated(gpu, x!).handle;
  if (!sums) return [dx, null, null, null];
  const T = weightGradient(gpu, geometry, batch, dy, values ?? x!.handle, true);
  if (values) gpu.buffers.release(values);
  const others = parameterGradients(gpu, T, inputs);
  gpu.buffers.release(T);
  return [dx, ...others];
}

/** Forward: one product. Backward: the input's gradient, the sums over pixels, and what follows from them. */
export const pointwiseResidual: GpuOp<PointwiseResidualAttributes> = {
  keepsFloat16: (_gpu, _inputs, _attributes, direction) => direction === "forward",
  forward(gpu, [x, weight, bias, scale, shortcut, keep], { activation }, shape) {
    const y = output(gpu, shape, "pointwiseResidual", x!.dtype);
    const geometry = geometryOf(x!, shape[1]), { inChannels, pixels } = geometry, rows = shape[1];
    const plan = gemmPlan(gpu, rows, shape[0] * pixels);
    const options = {
      gelu: activation === "gelu",
      bias: bias !== null,
      scale: scale !== null,
      keep: keep !== null && keep !== undefined,
      storage: storageOf(x!),
    };
    const form = pointwiseResidualForm(geometry, options, plan);
    const kernel = gpu.kernel(`pointwiseResidual ${JSON.stringify(form)}`, () => productKernel(form));
    const [xBytes, yBytes] = [inChannels, rows].map((channels) => bytesOf(x!) * channels * pixels);
    for (const { first, count } of batchSlices(shape[0], [xBytes, yBytes], gpu.limits)) {
      const views = [
        part(x!.handle, first, count, xBytes),
        ...[weight!.handle, bias?.handle, scale?.handle].filter((buffer) => buffer !== undefined),
        part(shortcut!.handle, first, count, yBytes),
        ...keep ? [keep.handle] : [],
        part(y, first, count, yBytes),
      ];
      const columns = count * pixels;
      dispatchGemm(gpu, kernel, plan, views, { rows, columns }, [rows, columns, inChannels, pixels, first]);
    }
    return y;
  },
  backward(gpu, dy, inputs, { activation }, needs) {
    const keep = inputs[5];
    const dShortcut = needs[4] ? output(gpu, dy.shape, "pointwiseResidual dshortcut") : null;
    if (dShortcut) gpu.copy(dy.handle, dShortcut);
    const [items, rows] = dy.shape, inner = planes(dy.shape).pixels;
    const kept = keep ? scaled(gpu, dy.handle, keep.handle, { items, rows, inner }, true) : dy.handle;
    const others = gradients(gpu, kept, inputs, activation === "gelu", needs);
    if (keep) gpu.buffers.release(kept);
    return [...others, dShortcut, null];
  },
};
