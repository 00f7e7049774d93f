/**
 * Options to a validated layer spec: all integer arithmetic of the module, no tensor in sight.
 *
 * Legend: N batch, C channels, K kernel count (learnable elements per kernel), S dilated kernel size.
 */

/** Interpolation: `v0` bilinear, `v1` normalised bilinear, `max` triangle, `gauss` Gaussian. */
export type Version = "v0" | "v1" | "max" | "gauss";
/** How the input is extended beyond its borders, as in `torch.nn.Conv2d`. */
export type PaddingMode = "zeros" | "reflect" | "replicate" | "circular";
/** Extents of a tensor, outermost axis first. */
export type Shape = readonly number[];

/** The versions, in the paper's order. */
export const VERSIONS: readonly Version[] = ["v0", "v1", "max", "gauss"];
/** The padding modes. */
export const PADDING_MODES: readonly PaddingMode[] = ["zeros", "reflect", "replicate", "circular"];

/** Options of every Dcls layer: camelCase of the PyTorch names, same defaults except `version`. */
export interface DclsOptions {
  /** K, learnable elements per kernel. */
  kernelCount: number;
  /** S, extent of the constructed kernel, one number or one per positioned axis. */
  dilatedKernelSize: number | readonly number[];
  /** Step of the convolution, one number or one per spatial axis. Default 1. */
  stride?: number | readonly number[];
  /** Cells added on both sides, one number or one per spatial axis. Default 0. */
  padding?: number | readonly number[];
  /** Groups of channels; `inChannels` for a depthwise layer. Default 1. */
  groups?: number;
  /** Whether the layer adds a learnable bias. Default true. */
  bias?: boolean;
  /** Default `"zeros"`. */
  paddingMode?: PaddingMode;
  /** Interpolation. Default `"v0"`, the paper's. */
  version?: Version;
  /** Seed of the initial values. Default: a new one for every layer. */
  seed?: number;
}

/** Options of `Dcls2_1d` and `Dcls3_1d`, whose leading kernel axes are dense. */
export interface DenseDclsOptions extends DclsOptions {
  /** Extent of the dense kernel axes, one number or one per dense axis. */
  denseKernelSize: number | readonly number[];
}

/** Options of `Dcls2dK1d`, a 1-d kernel in a 2-d convolution. */
export interface FlatDclsOptions extends DclsOptions {
  /** 0 constructs kernels of shape `[S, 1]`, 1 of shape `[1, S]`. Default 0. */
  flatDim?: 0 | 1;
}

/** What a class fixes before its options are read. */
export interface LayerForm {
  /** Class name, for error messages. */
  readonly name: string;
  /** Spatial axes of input and kernel. */
  readonly spatialAxes: 1 | 2 | 3;
  /** Leading dense kernel axes (`Dcls2_1d`: 1, `Dcls3_1d`: 2). */
  readonly denseAxes: number;
  /** Axes along which positions move. */
  readonly positionAxes: number;
  /** Added to |SIG| in version `gauss`. */
  readonly gaussOffset: number;
}

/** A validated layer: everything about it that is an integer or a name. */
export interface LayerSpec {
  /** Class name. */
  readonly name: string;
  /** Channels of the input. */
  readonly inChannels: number;
  /** Channels of the output. */
  readonly outChannels: number;
  /** Groups of channels; `inChannels` for a depthwise layer. */
  readonly groups: number;
  /** K, learnable elements per kernel. */
  readonly kernelCount: number;
  /** Interpolation. */
  readonly version: Version;
  /** How the input is extended beyond its borders. */
  readonly paddingMode: PaddingMode;
  /** Whether the layer has a learnable bias. */
  readonly bias: boolean;
  /** S of each positioned axis. */
  readonly dilatedKernelSize: Shape;
  /** Extents of the dense kernel axes; empty in most classes. */
  readonly denseKernelSize: Shape;
  /** Spatial extents of the constructed kernel. */
  readonly kernelSize: Shape;
  /** Step of the convolution, per spatial axis. */
  readonly stride: Shape;
  /** Cells added on both sides, per spatial axis. */
  readonly padding: Shape;
  /** Added to |SIG|; 0 where the version has no spread. */
  readonly spreadOffset: number;
  /** `[out, in/groups, ...dense, K]` */
  readonly weightShape: Shape;
  /** `[positioned axes, out, in/groups, ...dense, K]` */
  readonly positionShape: Shape;
  /** `[out, in/groups, ...kernelSize]` */
  readonly kernelShape: Shape;
}

/** The number of elements of a tensor of this shape. */
export function sizeOf(shape: Shape): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

/** Whether two shapes are equal. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((extent, i) => extent === b[i]);
}

/** `[2, 3]` as `2 x 3`, `[]` as `scalar`. */
export function shapeText(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

function checkInteger(context: string, name: string, value: unknown, least: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < least) {
    const rule = least === 1 ? "a positive integer" : `an integer of at least ${least}`;
    throw new RangeError(`Cannot create ${context}: ${name} must be ${rule}, got ${String(value)}`);
  }
  return value;
}

/** One number or one per axis → one per axis; every entry an integer of at least `least`. */
export function checkAxes(
  context: string,
  name: string,
  value: number | readonly number[],
  axes: number,
  least: number,
): number[] {
  const list = typeof value === "number" ? new Array<number>(axes).fill(value) : [...(value ?? [undefined])];
  if (list.length !== axes) {
    throw new RangeError(
      `Cannot create ${context}: ${name} must be one number or ${axes} of them, got ${list.length} (${
        String(value)
      })`,
    );
  }
  return list.map((entry) => checkInteger(context, name, entry, least));
}

function checkChoice<T extends string>(context: string, name: string, value: T, choices: readonly T[]): T {
  if (!choices.includes(value)) {
    throw new RangeError(
      `Cannot create ${context}: ${name} must be one of ${choices.join(", ")}, got ${JSON.stringify(value)}`,
    );
  }
  return value;
}

/** Checks channels and groups, for convolutions of every kind. */
export function checkChannels(
  context: string,
  inChannels: number,
  outChannels: number,
  groups: number,
): void {
  checkInteger(context, "inChannels", inChannels, 1);
  checkInteger(context, "outChannels", outChannels, 1);
  checkInteger(context, "groups", groups, 1);
  for (const [name, value] of [["inChannels", inChannels], ["outChannels", outChannels]] as const) {
    if (value % groups !== 0) {
      throw new RangeError(
        `Cannot create ${context}: ${name} must be divisible by groups, got ${name} ${value} and groups ${groups}`,
      );
    }
  }
}

/**
 * Checks a layer's options and works out every shape.
 * @throws {RangeError} naming the option, its rule and what was passed
 */
export function layerSpec(
  form: LayerForm,
  inChannels: number,
  outChannels: number,
  options: DclsOptions & { denseKernelSize?: number | readonly number[]; flatDim?: 0 | 1 },
): LayerSpec {
  const { name, spatialAxes, denseAxes, positionAxes } = form;
  if (options === null || typeof options !== "object") {
    throw new TypeError(
      `Cannot create ${name}: options { kernelCount, dilatedKernelSize } are required, got ${options}`,
    );
  }
  const groups = options.groups ?? 1;
  checkChannels(name, inChannels, outChannels, groups);
  const kernelCount = checkInteger(name, "kernelCount", options.kernelCount, 1);
  const dilatedKernelSize = checkAxes(name, "dilatedKernelSize", options.dilatedKernelSize, positionAxes, 1);
  const denseKernelSize = denseAxes === 0
    ? []
    : checkAxes(name, "denseKernelSize", options.denseKernelSize ?? [], denseAxes, 1);
  const stride = checkAxes(name, "stride", options.stride ?? 1, spatialAxes, 1);
  const padding = checkAxes(name, "padding", options.padding ?? 0, spatialAxes, 0);
  const version = checkChoice(name, "version", options.version ?? "v0", VERSIONS);
  const paddingMode = checkChoice(name, "paddingMode", options.paddingMode ?? "zeros", PADDING_MODES);
  const kernelSize = [...denseKernelSize, ...dilatedKernelSize];
  if (kernelSize.length < spatialAxes) { // Dcls2dK1d: a flat axis of one cell
    const flatDim = options.flatDim ?? 0;
    if (flatDim !== 0 && flatDim !== 1) {
      throw new RangeError(`Cannot create ${name}: flatDim must be 0 or 1, got ${String(flatDim)}`);
    }
    kernelSize.splice(flatDim === 0 ? 1 : 0, 0, 1);
  }
  const rows = [outChannels, inChannels / groups];
  return {
    name,
    inChannels,
    outChannels,
    groups,
    kernelCount,
    version,
    paddingMode,
    bias: options.bias ?? true,
    dilatedKernelSize,
    denseKernelSize,
    kernelSize,
    stride,
    padding,
    spreadOffset: version === "gauss" ? form.gaussOffset : version === "max" ? 1 : 0,
    weightShape: [...rows, ...denseKernelSize, kernelCount],
    positionShape: [positionAxes, ...rows, ...denseKernelSize, kernelCount],
    kernelShape: [...rows, ...kernelSize],
  };
}

/** First and last cell of each axis, counted from the centre cell: where positions may be. */
export function positionBounds(size: Shape): { low: number[]; high: number[] } {
  return {
    low: size.map((s) => -Math.floor(s / 2)),
    high: size.map((s) => s - 1 - Math.floor(s / 2)),
  };
}

/** Extent of a convolution's output along one axis. */
export function outputExtent(
  input: number,
  kernel: number,
  stride: number,
  padding: number,
  dilation: number,
): number {
  return Math.floor((input + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
}
