/**
 * PyTorch's axis order and ours. Here P[a] moves along spatial axis a, counted from the cell floor(S[a] / 2).
 * The PyTorch package (dcls 0.1.1) reads another index j of P along that axis and counts from floor(S[j] / 2), so
 * P_here[a] = P_torch[j] + floor(S[j] / 2) - floor(S[a] / 2). SIG, and gradients of either, move without the shift.
 */
import { type LayerSpec, type Shape, shapeText, sizeOf } from "../spec.ts";

/** The index j of PyTorch's P that each positioned axis reads. */
function torchIndices({ dilatedKernelSize, version }: LayerSpec): readonly number[] {
  switch (dilatedKernelSize.length) {
    case 1:
      return [0];
    case 2:
      return version === "v0" ? [0, 1] : [1, 0];
    default:
      return version === "v0" ? [0, 2, 1] : [2, 1, 0];
  }
}

function axisSize(doing: string, spec: LayerSpec, data: Float32Array, shape: Shape): number {
  const axes = spec.dilatedKernelSize.length;
  if (shape[0] !== axes || sizeOf(shape) !== data.length) {
    throw new RangeError(
      `Cannot ${doing}: ${spec.name} needs a tensor of ${axes} position axes and as many elements as its shape, ` +
        `got shape ${shapeText(shape)} and ${data.length} elements`,
    );
  }
  return data.length / axes;
}

/** floor(S / 2) of PyTorch's index less that of ours, for P; 0 for SIG. */
function shift({ dilatedKernelSize }: LayerSpec, name: "P" | "SIG", axis: number, index: number): number {
  if (name === "SIG") return 0;
  return Math.floor(dilatedKernelSize[index] / 2) - Math.floor(dilatedKernelSize[axis] / 2);
}

/**
 * P or SIG (`[position axes, ...]`) of the PyTorch package, in our axis order. With `"SIG"` it also turns the
 * gradients of either. Exact where the kernel is square; elsewhere P + shift is rounded to float32.
 *
 * @throws {RangeError} if the first extent is not the layer's number of position axes, or the size is not the shape's
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { FORMS } from "./forms.ts";
 * import { fromTorch } from "./layout.ts";
 * import { layerSpec } from "../spec.ts";
 *
 * const options = { kernelCount: 1, dilatedKernelSize: [5, 9], version: "gauss" } as const;
 * const spec = layerSpec(FORMS.Dcls2d, 1, 1, options);
 * const P = fromTorch(spec, "P", new Float32Array([1, -1]), [2, 1, 1, 1]);
 * assert.deepEqual([...P], [-1 + 4 - 2, 1 + 2 - 4]);
 * ```
 */
export function fromTorch(
  spec: LayerSpec,
  name: "P" | "SIG",
  data: Float32Array,
  shape: Shape,
): Float32Array {
  const perAxis = axisSize(`read ${name} of PyTorch's layout`, spec, data, shape);
  const result = new Float32Array(data.length);
  torchIndices(spec).forEach((index, axis) => {
    const moved = shift(spec, name, axis, index);
    for (let i = 0; i < perAxis; i++) result[axis * perAxis + i] = data[index * perAxis + i] + moved;
  });
  return result;
}

/**
 * The inverse of {@linkcode fromTorch}: P or SIG in our axis order, as the PyTorch package stores it.
 *
 * @throws {RangeError} if the first extent is not the layer's number of position axes, or the size is not the shape's
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { FORMS } from "./forms.ts";
 * import { fromTorch, toTorch } from "./layout.ts";
 * import { layerSpec } from "../spec.ts";
 *
 * const spec = layerSpec(FORMS.Dcls3d, 1, 1, { kernelCount: 1, dilatedKernelSize: 5 });
 * const P = new Float32Array([-2, 0.5, 1]);
 * const stored = toTorch(spec, "P", P, [3, 1, 1, 1]);
 * assert.deepEqual(fromTorch(spec, "P", stored, [3, 1, 1, 1]), P);
 * ```
 */
export function toTorch(
  spec: LayerSpec,
  name: "P" | "SIG",
  data: Float32Array,
  shape: Shape,
): Float32Array {
  const perAxis = axisSize(`write ${name} in PyTorch's layout`, spec, data, shape);
  const result = new Float32Array(data.length);
  torchIndices(spec).forEach((index, axis) => {
    const moved = shift(spec, name, axis, index);
    for (let i = 0; i < perAxis; i++) result[index * perAxis + i] = data[axis * perAxis + i] - moved;
  });
  return result;
}
