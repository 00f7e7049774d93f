/** Element types: how a tensor's elements are kept. Arithmetic is float32 (the reference's float64) either way. */

/**
 * How a tensor keeps its elements. `float16` (IEEE 754 binary16: 11 significant bits, up to 65,504, smallest number
 * 6e-8) takes half the memory of `float32`; every op computes in float32 and rounds once, when it writes.
 */
export type DType = "float32" | "float16";

/** A {@linkcode DType}, or its short form. */
export type DTypeName = DType | "f32" | "f16";

const NAMES: Readonly<Record<DTypeName, DType>> = {
  float32: "float32",
  float16: "float16",
  f32: "float32",
  f16: "float16",
};

/** Bytes of one element. */
export const ELEMENT_BYTES: Readonly<Record<DType, number>> = { float32: 4, float16: 2 };

/**
 * The type that a user named; float32 where none was.
 * @throws {RangeError} for any other name
 */
export function dtypeNamed(doing: string, name: DTypeName = "float32"): DType {
  if (!Object.hasOwn(NAMES, name)) {
    throw new RangeError(
      `Cannot ${doing}: dtype must be "float32" or "float16" ("f32" or "f16"), got ${JSON.stringify(name)}`,
    );
  }
  return NAMES[name];
}
