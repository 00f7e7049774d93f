/** States: the named values of a module, as checkpoints hold them, and their checks. */
import { type Shape, shapeText, sizeOf } from "../spec.ts";
import { findBadValue, type Parameter } from "./parameter.ts";

/** The values of a parameter, on the JavaScript side. */
export interface StateTensor {
  /** Extents, outermost first. */
  shape: number[];
  /** Row-major. */
  data: Float32Array;
}

/** A module's parameters by path. */
export type StateDict = Record<string, StateTensor>;

/** What a state to be loaded may look like; the tensors of `readSafetensors` do. */
export type StateInput = Readonly<
  Record<string, { readonly shape: Shape; readonly data: ArrayLike<number> | ArrayLike<bigint> }>
>;

/** Whose axis order P and SIG are in: this module's, or that of the PyTorch package. */
export type Layout = "native" | "torch";

/** Options of `stateDict`. */
export interface StateOptions {
  /** Default `"native"`. */
  layout?: Layout;
}

/** Options of `loadStateDict`. */
export interface LoadOptions extends StateOptions {
  /** Whether missing and unexpected tensors are errors. Misshapen ones always are. Default true. */
  strict?: boolean;
}

/** A parameter at one of its places in a module. */
export interface Leaf {
  readonly path: string;
  readonly parameter: Parameter;
  /** Turns values of the given layout into ours. */
  read(data: Float32Array, layout: Layout): Float32Array;
}

/** Throws unless it is a layout. */
export function checkLayout(doing: string, layout: unknown): asserts layout is Layout {
  if (layout !== "native" && layout !== "torch") {
    throw new RangeError(
      `Cannot ${doing}: layout must be "native" or "torch", got ${JSON.stringify(layout)}`,
    );
  }
}

/** Names in a message: the first eight. */
function list(entries: readonly string[]): string {
  const shown = entries.slice(0, 8).join(", ");
  return entries.length > 8 ? `${shown} and ${entries.length - 8} more` : shown;
}

function sameValues(a: Float32Array, b: Float32Array): boolean {
  return a.length === b.length && a.every((value, i) => Object.is(value, b[i]) || value === b[i]);
}

/**
 * Checks a state against a module's parameters and returns the values to assign, each parameter once.
 * A shared parameter may be stored under any of its paths; where under several, the copies must agree.
 * @throws {RangeError} that lists everything that does not fit
 */
export function verifyState(
  moduleName: string,
  leaves: readonly Leaf[],
  state: StateInput,
  { layout = "native", strict = true }: LoadOptions,
): Map<Parameter, Float32Array> {
  checkLayout(`load a state into ${moduleName}`, layout);
  const values = new Map<Parameter, { path: string; data: Float32Array }>();
  const missing: Leaf[] = [];
  const misshapen: string[] = [];
  const bad: string[] = [];
  const disagreeing: string[] = [];
  for (const leaf of leaves) {
    const { path, parameter } = leaf;
    if (parameter.isDisposed) bad.push(`${path} of the module was disposed`);
    if (!Object.hasOwn(state, path)) {
      missing.push(leaf);
      continue;
    }
    const { shape, data } = state[path];
    if (shapeText(shape) !== shapeText(parameter.shape)) {
      misshapen.push(`${path} must have shape ${shapeText(parameter.shape)}, got ${shapeText(shape)}`);
      continue;
    }
    if (data.length !== sizeOf(shape) || typeof data[0] === "bigint") {
      const got = typeof data[0] === "bigint" ? "64-bit integers" : `${data.length} values`;
      misshapen.push(`${path} must hold ${sizeOf(shape)} numbers, got ${got}`);
      continue;
    }
    const numbers = data as ArrayLike<number>;
    const own = leaf.read(numbers instanceof Float32Array ? numbers : Float32Array.from(numbers), layout);
    const badValue = findBadValue(parameter.name, own);
    if (badValue) bad.push(`${path} must be finite, got ${badValue}`);
    const before = values.get(parameter);
    if (!before) values.set(parameter, { path, data: own });
    else if (!sameValues(before.data, own)) disagreeing.push(`${before.path} and ${path}`);
  }
  const known = new Set(leaves.map((leaf) => leaf.path));
  const absent = missing.filter(({ parameter }) => !values.has(parameter))
    .map(({ path, parameter }) => `${path} ${shapeText(parameter.shape)}`);
  const unexpected = Object.keys(state).filter((path) => !known.has(path))
    .map((path) => `${path} ${shapeText(state[path].shape)}`);
  const problems = [
    strict && absent.length > 0 ? `missing: ${list(absent)}` : "",
    strict && unexpected.length > 0 ? `unexpected: ${list(unexpected)}` : "",
    misshapen.length > 0 ? list(misshapen) : "",
    bad.length > 0 ? list(bad) : "",
    disagreeing.length > 0 ? `one shared parameter here, but different values: ${list(disagreeing)}` : "",
  ].filter((problem) => problem !== "");
  if (problems.length > 0) {
    throw new RangeError(
      `Cannot load a state into ${moduleName}: its tensors must be the module's, got ${
        problems.join("; ")
      }. ` +
        "Nothing was loaded",
    );
  }
  return new Map([...values].map(([parameter, { data }]) => [parameter, data]));
}
