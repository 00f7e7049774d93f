/**
 * constructKernel: weight, P, SIG → dense kernel.
 * kernel[row, cell] = sum over k of weight[row, k] * prod over axes a of factor(cell_a - c_a - P[a, row, k]) / norm.
 * Rows are the leading axes of weight (out, in/groups, ...dense) taken together.
 */
import { INTERPOLATION } from "../interpolation.ts";
import { type Shape, sizeOf, type Version } from "../spec.ts";
import { type Op, requireShape } from "./op.ts";

/** Attributes of {@linkcode constructKernel}. */
export interface ConstructKernelAttributes {
  readonly version: Version;
  /** Added to |SIG| to make the spread; 0 where the version has none. */
  readonly spreadOffset: number;
  /** S of each positioned axis. */
  readonly size: Shape;
  /** `[..., K]` */
  readonly weightShape: Shape;
  /** Output: as many cells per row as `size` has. */
  readonly kernelShape: Shape;
}

/** Inputs: weight, P, SIG or null. */
export const constructKernel: Op<"constructKernel", ConstructKernelAttributes> = {
  name: "constructKernel",
  activations: [],
  outputShape([weight, P, SIG], { version, size, weightShape, kernelShape }) {
    requireShape("constructKernel", "weight", weight, weightShape);
    requireShape("constructKernel", "P", P, [size.length, ...weightShape]);
    if (INTERPOLATION[version].spread) {
      requireShape("constructKernel", "SIG", SIG, [size.length, ...weightShape]);
    }
    const rows = sizeOf(weightShape.slice(0, -1));
    if (rows * sizeOf(size) !== sizeOf(kernelShape)) {
      throw new RangeError(
        `Cannot run constructKernel: kernelShape must hold ${rows} kernels of ${size.join(" x ")} cells, ` +
          `got [${kernelShape.join(", ")}]`,
      );
    }
    return kernelShape;
  },
};
