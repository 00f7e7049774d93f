/** Tensors that are to be written, whatever the format, and what is wrong with them. */
import {
  dtypeOf,
  DTYPES,
  isDtype,
  type SafetensorsData,
  type SafetensorsDtype,
} from "./safetensors_dtypes.ts";

/** A tensor to be written. */
export interface TensorInput {
  /** Extents, slowest first (row-major); `[]` for a scalar. */
  readonly shape: readonly number[];
  /** The values, row-major, as many as the shape has. */
  readonly data: SafetensorsData;
  /**
   * Element type in the file; default: that of `data`'s class. `"F16"` and `"BF16"` take a `Float32Array` and
   * round it to nearest, ties to even; `"BOOL"` takes a `Uint8Array`.
   */
  readonly dtype?: SafetensorsDtype;
}

/** What to call a value in a message: its class, or its type. */
function kindOf(value: unknown): string {
  return value instanceof Object ? value.constructor.name : value === null ? "null" : typeof value;
}

/**
 * Checks a tensor and gives the element type it is written as.
 * @param format for the message: `"safetensors"`
 * @throws {TypeError} "Cannot write <format>: ..." if data is not a typed array, or not of the class that dtype needs
 * @throws {RangeError} likewise, for names that are no Unicode, unknown dtypes, bad shapes, and shapes that disagree
 * with the data's length
 */
export function checkInput(format: string, name: string, input: TensorInput): SafetensorsDtype {
  const refuse = (ErrorClass: typeof TypeError | typeof RangeError, rule: string, what = ""): never => {
    throw new ErrorClass(`Cannot write ${format}: tensor ${JSON.stringify(name)}${what} must ${rule}`);
  };
  const { shape, data, dtype } = input ?? {};
  if (!name.isWellFormed()) refuse(RangeError, "have a well-formed Unicode name");
  const own = dtypeOf(data);
  if (own === null) return refuse(TypeError, `have a typed array as data, got ${kindOf(data)}`);
  const chosen = dtype ?? own;
  if (!isDtype(chosen)) return refuse(RangeError, `have a known dtype, got ${chosen}`);
  const { dataClass } = DTYPES[chosen];
  if (!(data instanceof dataClass)) {
    refuse(TypeError, `have a ${dataClass.name} as data, got ${kindOf(data)}`, ` of dtype ${chosen}`);
  }
  if (!Array.isArray(shape) || !shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)) {
    refuse(RangeError, `have a shape of integers >= 0, got [${shape}]`);
  }
  const size = shape.reduce((product, extent) => product * extent, 1);
  if (size !== data.length) {
    refuse(RangeError, `have as many values as its shape [${shape}] has, ${size}, got ${data.length}`);
  }
  return chosen;
}
