/**
 * Random layers for property-based tests: every class, version, padding mode and grouping, kernels of even size and
 * larger than the plane, with and without a batch; all of them valid, and their values away from ties.
 * @module
 */
import fc from "fast-check";
import { FORMS, type LayerName } from "../../src/nn/forms.ts";
import { createRandom } from "../../src/random.ts";
import {
  type LayerSpec,
  layerSpec,
  outputExtent,
  PADDING_MODES,
  type PaddingMode,
  positionBounds,
  type Shape,
  sizeOf,
  type Version,
} from "../../src/spec.ts";
import type { CaseTensor } from "../cases.ts";
import type { LayerArguments, LayerValues } from "./layer_run.ts";

/** A layer, the shape of its input, and the seed of all its values. */
export interface RandomLayer extends LayerArguments {
  readonly inputShape: Shape;
  readonly seed: number;
}

/** How large layers may become. */
export interface Bounds {
  readonly extent: number;
  readonly size: number;
  readonly channelsPerGroup: number;
}

/** Numbers before they are made to fit one another; lists have an entry for each axis that there might be. */
interface Raw {
  readonly mode: PaddingMode;
  readonly batch: number | null;
  readonly groups: number;
  readonly inPerGroup: number;
  readonly outPerGroup: number;
  readonly kernelCount: number;
  readonly bias: boolean;
  readonly flatDim: 0 | 1;
  readonly extents: readonly number[];
  readonly sizes: readonly number[];
  readonly dense: readonly number[];
  readonly strides: readonly number[];
  readonly paddings: readonly number[];
  readonly seed: number;
}

/** Layers of one class and version. */
export function randomLayer(module: LayerName, version: Version, bounds: Bounds): fc.Arbitrary<RandomLayer> {
  const integer = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });
  const three = (min: number, max: number): fc.Arbitrary<number[]> =>
    fc.array(integer(min, max), { minLength: 3, maxLength: 3 });
  return fc.record<Raw>({
    mode: fc.constantFrom(...PADDING_MODES),
    batch: fc.option(integer(1, 3)),
    groups: integer(1, 3),
    inPerGroup: fc.oneof(fc.constant(1), integer(1, bounds.channelsPerGroup)),
    outPerGroup: integer(1, bounds.channelsPerGroup),
    kernelCount: integer(1, 4),
    bias: fc.boolean(),
    flatDim: fc.constantFrom(0, 1),
    extents: three(1, bounds.extent),
    // From 2 cells on: in a single one, all versions but v0 make weight * f / (f + 1e-7), and the gradient to f is
    // nothing but rounding.
    sizes: three(2, bounds.size),
    dense: three(1, 3),
    strides: three(1, 3),
    paddings: three(0, 4),
    seed: fc.nat(),
  }).map((raw) => fit(module, version, raw));
}

function fit(module: LayerName, version: Version, raw: Raw): RandomLayer {
  const { spatialAxes, denseAxes, positionAxes } = FORMS[module];
  const extents = raw.extents.slice(0, spatialAxes);
  const flat = module === "Dcls2dK1d" ? raw.flatDim : null;
  const kernel = [...raw.dense.slice(0, denseAxes), ...raw.sizes.slice(0, positionAxes)];
  if (flat !== null) kernel.splice(1 - flat, 0, 1);
  const padding = extents.map((extent, a) => {
    const most = raw.mode === "reflect" ? extent - 1 : raw.mode === "circular" ? extent : Infinity;
    const needed = Math.ceil((kernel[a] - extent) / 2);
    return Math.min(most, Math.max(needed, raw.paddings[a]));
  });
  // Where no padding is enough, the kernel gives way.
  const size = kernel.map((cells, a) => Math.min(cells, extents[a] + 2 * padding[a]));
  const channels = raw.groups * raw.inPerGroup;
  return {
    module,
    inChannels: channels,
    outChannels: raw.groups * raw.outPerGroup,
    options: {
      kernelCount: raw.kernelCount,
      dilatedKernelSize: flat === null ? size.slice(denseAxes) : [size[flat]],
      ...(denseAxes > 0 && { denseKernelSize: size.slice(0, denseAxes) }),
      ...(flat !== null && { flatDim: flat }),
      version,
      groups: raw.groups,
      bias: raw.bias,
      stride: raw.strides.slice(0, spatialAxes),
      padding,
      paddingMode: raw.mode,
    },
    inputShape: [...(raw.batch === null ? [] : [raw.batch]), channels, ...extents],
    seed: raw.seed,
  };
}

/**
 * Depthwise 2-d layers of stride 1 whose planes and kernels are large enough for WebGPU's FFT, on software adapters too.
 */
export function randomPlaneLayer(version: Version): fc.Arbitrary<RandomLayer> {
  const pair = (min: number, max: number): fc.Arbitrary<number[]> =>
    fc.array(fc.integer({ min, max }), { minLength: 2, maxLength: 2 });
  return fc.record({
    channels: fc.integer({ min: 1, max: 3 }),
    batch: fc.integer({ min: 1, max: 5 }),
    bias: fc.boolean(),
    extents: pair(20, 30),
    sizes: pair(25, 31),
    paddings: pair(11, 15),
    seed: fc.nat(),
  }).map(({ channels, batch, bias, extents, sizes, paddings, seed }) => ({
    module: "Dcls2d",
    inChannels: channels,
    outChannels: channels,
    options: {
      kernelCount: 3,
      dilatedKernelSize: sizes,
      padding: paddings,
      groups: channels,
      bias,
      version,
    },
    inputShape: [batch, channels, ...extents],
    seed,
  }));
}

/** Layers whose stride is their size: patches without overlap, which WebGPU treats as channels. */
export function randomPatchLayer(module: LayerName, version: Version): fc.Arbitrary<RandomLayer> {
  return randomLayer(module, version, { extent: 9, size: 3, channelsPerGroup: 5 }).map((layer) => {
    const { kernelSize } = specOf(layer);
    const channels = layer.inChannels;
    const batch = layer.inputShape.length > kernelSize.length + 1 ? layer.inputShape[0] : 1;
    const options = {
      ...layer.options,
      groups: 1,
      stride: kernelSize,
      padding: 0,
      paddingMode: "zeros" as const,
    };
    const extents = layer.inputShape.slice(-kernelSize.length).map((extent, a) =>
      Math.max(extent, kernelSize[a])
    );
    return { ...layer, options, inputShape: [batch, channels, ...extents] };
  });
}

/** What `layerSpec` makes of a random layer. */
export function specOf({ module, inChannels, outChannels, options }: RandomLayer): LayerSpec {
  return layerSpec(FORMS[module], inChannels, outChannels, options);
}

/**
 * Values lie on this grid, so that float32 holds them, and a step of a few grid cells beside them, exactly: backends
 * see the same numbers, and finite differences move by what they think they do.
 */
export const GRID = 2 ** -12;

/** Half the width of the band around a tie of the interpolation that positions and spreads stay out of. */
const CLEARANCE = 0.01;

/** Standard normal values and positions all over the kernel, up to 0.4 cells outside. */
export function drawValues(layer: RandomLayer): LayerValues {
  const spec = specOf(layer);
  const random = createRandom(layer.seed);
  const draw = (): number => Math.round(random.normal() / GRID) * GRID;
  const filled = (shape: Shape, next: () => number = draw): CaseTensor => ({
    shape,
    data: Float32Array.from({ length: sizeOf(shape) }, next),
  });
  const until = (accepts: (value: number) => boolean, next: () => number): number => {
    for (;;) {
      const value = next();
      if (accepts(value)) return value;
    }
  };
  const state: Record<string, CaseTensor> = { weight: filled(spec.weightShape) };
  if (spec.bias) state.bias = filled([layer.outChannels]);
  const spread = spec.version === "max" || spec.version === "gauss";
  if (spread) {
    state.SIG = filled(spec.positionShape, () => until((value) => Math.abs(value) > CLEARANCE, draw));
  }
  const { low, high } = positionBounds(spec.dilatedKernelSize);
  const toInteger = (value: number): number => Math.abs(value - Math.round(value));
  const perAxis = sizeOf(spec.positionShape) / low.length;
  let index = 0;
  state.P = filled(spec.positionShape, () => {
    const axis = Math.floor(index / perAxis);
    const reach = spread ? Math.abs(state.SIG.data[index]) + spec.spreadOffset : 1;
    index++;
    const anywhere = (): number => low[axis] - 0.4 + random.uniform() * (high[axis] - low[axis] + 0.8);
    return until(
      (p) => Math.min(toInteger(p), toInteger(p + reach), toInteger(p - reach)) > CLEARANCE,
      () => Math.round(anywhere() / GRID) * GRID,
    );
  });
  const batch = layer.inputShape.slice(0, layer.inputShape.length - spec.kernelSize.length - 1);
  const spatial = layer.inputShape.slice(batch.length + 1).map((extent, a) =>
    outputExtent(extent, spec.kernelSize[a], spec.stride[a], spec.padding[a], 1)
  );
  return {
    state,
    input: filled(layer.inputShape),
    gradient: filled([...batch, layer.outChannels, ...spatial]),
  };
}
