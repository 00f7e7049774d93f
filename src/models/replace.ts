/** The paper's method as one call: every depthwise convolution of a model becomes a DCLS layer of as many parameters. */
import { anySeed } from "../create.ts";
import { INTERPOLATION } from "../interpolation.ts";
import { Conv1d, Conv2d, Conv3d, ConvNd } from "../nn/conv.ts";
import { Dcls1d, Dcls2d, Dcls3d } from "../nn/dcls.ts";
import type { DclsNd } from "../nn/dcls_nd.ts";
import { deriveSeed } from "../nn/initialize.ts";
import { Module, type ModuleChild } from "../nn/module.ts";
import type { Parameter } from "../nn/parameter.ts";
import { type Shape, sizeOf, type Version } from "../spec.ts";
import { largestKernelCount } from "./iso.ts";

/** Options of {@linkcode replaceDepthwise}. */
export interface ReplaceOptions {
  /** S, the same along every axis; odd. Default 17, the paper's. */
  dilatedKernelSize?: number;
  /** K. Default: the largest one at which the model has no more parameters than before. */
  kernelCount?: number;
  /** Interpolation. Default `"v0"`, the paper's. */
  version?: Version;
  /**
   * Whether layers share positions (and spreads): those that follow one another, in the order in which the fields hold
   * them, and have as many axes and output channels. In a ConvNeXt these are the blocks of a stage. Default true, the
   * paper's.
   */
  sharePositions?: boolean;
  /** Standard deviation of the initial positions, in cells. Default 0.5, the paper's. */
  positionStd?: number;
  /** Seed of the initial values. Default: a new one. */
  seed?: number;
}

/** A layer that was replaced. */
export interface Replacement {
  /** Where it is: the first path, where it has more than one. */
  readonly path: string;
  /** The class before, `Conv2d`. */
  readonly from: string;
  /** The class now, `Dcls2d`. */
  readonly to: string;
  /** Extents of the dense kernel before, without dilation. */
  readonly kernelSize: Shape;
  /** Path of the layer whose positions it shares; null where they are its own. */
  readonly sharesWith: string | null;
  /** Learned values before. */
  readonly parametersBefore: number;
  /** Learned values now, without shared ones of an earlier layer. */
  readonly parametersAfter: number;
}

/** What {@linkcode replaceDepthwise} did. */
export interface ReplacementReport {
  /** K of every new layer. */
  readonly kernelCount: number;
  /** S of every new layer. */
  readonly dilatedKernelSize: number;
  /** In the order of the fields. */
  readonly layers: readonly Replacement[];
  /** Learned values of the model before. */
  readonly parametersBefore: number;
  /** Learned values of the model now. */
  readonly parametersAfter: number;
}

/** A depthwise convolution, and every field or entry of a list that holds it. */
interface Found {
  readonly path: string;
  readonly layer: ConvNd;
  readonly places: { readonly holder: object; readonly key: string }[];
}

function isDepthwise(module: Module): module is ConvNd {
  return module instanceof ConvNd && module.spec.groups > 1 && module.spec.groups === module.spec.inChannels;
}

/** All depthwise convolutions with their places, in the order of the fields, depth first. */
function findDepthwise(model: Module): Found[] {
  const found = new Map<Module, Found>();
  const entered = new Set<Module>();
  const visit = (path: string, child: ModuleChild): void => {
    if (Array.isArray(child)) child.forEach((entry, i) => visit(`${path}.${i}`, entry));
    if (!(child instanceof Module) || entered.has(child)) return;
    entered.add(child);
    if (isDepthwise(child)) found.set(child, { path, layer: child, places: [] });
    for (const [name, part] of Object.entries(child.children())) visit(path ? `${path}.${name}` : name, part);
  };
  visit("", model);
  const search = (holder: object): void => {
    for (const [key, value] of Object.entries(holder)) {
      if (Array.isArray(value)) search(value);
      else if (value instanceof Module) found.get(value)?.places.push({ holder, key });
    }
  };
  for (const module of entered) search(module);
  return [...found.values()];
}

function refuse(path: string, rule: string, got: string): never {
  throw new RangeError(`Cannot replace ${path || "the model"}: ${rule}, got ${got}`);
}

/** Throws unless the layer can be put in another's place, with an output of the same shape. Its new padding. */
function newPadding({ path, layer, places }: Found, size: number): number[] {
  if (path === "") refuse(path, "it must hold the layers that are to be replaced", "such a layer itself");
  const isFixed = ({ holder, key }: Found["places"][number]): boolean =>
    !Object.getOwnPropertyDescriptor(holder, key)!.writable;
  if (places.length === 0 || places.some(isFixed)) {
    refuse(path, "it must be in a public field or a list in one, neither of them frozen", "another place");
  }
  const { kernelSize, dilation, padding } = layer.spec;
  return kernelSize.map((cells, axis) => {
    const reach = dilation[axis] * (cells - 1) + 1;
    if (reach % 2 === 0) {
      const got = `kernelSize ${cells} with dilation ${dilation[axis]}`;
      refuse(
        path,
        "its kernel must reach over an odd number of cells, so that its output keeps its shape",
        got,
      );
    }
    const cellsMore = padding[axis] + (size - reach) / 2;
    if (cellsMore < 0) {
      const least = reach - 2 * padding[axis];
      refuse(
        path,
        `dilatedKernelSize must be at least ${least}, so that its output keeps its shape`,
        `${size}`,
      );
    }
    return cellsMore;
  });
}

/** The DCLS class in a dense one's place. */
function classFor(layer: ConvNd): typeof Dcls1d | typeof Dcls2d | typeof Dcls3d {
  if (layer instanceof Conv1d) return Dcls1d;
  if (layer instanceof Conv2d) return Dcls2d;
  if (layer instanceof Conv3d) return Dcls3d;
  throw new TypeError(`Cannot replace ${layer.constructor.name}: it must be a Conv1d, Conv2d or Conv3d`);
}

/** For each layer the one whose positions it shares: itself, or an earlier one. */
function positionOwners(found: readonly Found[], share: boolean): number[] {
  const owners: number[] = [];
  found.forEach(({ layer: { weight } }, i) => {
    const before = found[i - 1]?.layer.weight.shape;
    const same = share && before?.length === weight.shape.length && before[0] === weight.shape[0];
    owners.push(same ? owners[i - 1] : i);
  });
  return owners;
}

function countParameters(model: Module): number {
  return model.parameters().reduce((sum, { size }) => sum + size, 0);
}

/**
 * Replaces every depthwise convolution (groups equal to the input's channels, more than one) of a model by a DCLS layer,
 * in place: the method of the paper (Khalfaoui-Hassani et al., ICLR 2023, section 4). Channels, stride, padding mode and
 * bias stay, the padding grows by as much as the kernel, so that the shapes of outputs stay; weights and positions start
 * anew. The count of elements is that of {@linkcode isoKernelCount}, over the model's own layers: the largest at which
 * the new weights, positions and spreads together are no more than the dense weights were.
 *
 * Everything is checked first: after an error the model is what it was. Make the optimizer afterwards: it has to know
 * the new parameters. Fields that are to hold a DCLS layer are best declared as `Module` or `Conv2d | Dcls2d`. The `spec`
 * of a ConvNeXt keeps saying what it was made with.
 *
 * @param model any module; its layers are in public fields, or in (nested) lists in them
 * @returns what was replaced, with paths and counts
 * @throws {RangeError} where there is nothing to replace, dilatedKernelSize is not odd, a kernel's reach is even, the
 * output's shape could not stay, a layer is in a place that cannot be written, or no element fits the parameters
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { init, type Tensor, zeros } from "@dcls/dcls";
 * import { Conv2d, Module, Pointwise } from "@dcls/dcls/nn";
 * import { replaceDepthwise } from "@dcls/dcls/models";
 *
 * class Block extends Module {
 *   readonly depthwise: Module = new Conv2d(8, 8, { kernelSize: 5, padding: 2, groups: 8 });
 *   readonly pointwise = new Pointwise(8, 8);
 *   override forward(x: Tensor): Tensor {
 *     return this.pointwise.forward(this.depthwise.forward(x)).gelu().add(x);
 *   }
 * }
 * class Net extends Module {
 *   readonly blocks = [new Block(), new Block()];
 *   override forward(x: Tensor): Tensor {
 *     return this.blocks.reduce((y, block) => block.forward(y), x);
 *   }
 * }
 *
 * await init();
 * const net = new Net();
 * const { kernelCount, layers, parametersBefore, parametersAfter } = replaceDepthwise(net, { dilatedKernelSize: 11 });
 * assert.deepEqual(layers.map(({ path, to }) => [path, to]), [
 *   ["blocks.0.depthwise", "Dcls2d"],
 *   ["blocks.1.depthwise", "Dcls2d"],
 * ]);
 * assert.equal(kernelCount, 12); // two times 12 weights, and 24 positions, in place of two times 25 weights
 * assert(parametersAfter <= parametersBefore);
 * assert.deepEqual(net.forward(zeros([1, 8, 9, 9])).shape, [1, 8, 9, 9]);
 * ```
 */
export function replaceDepthwise(model: Module, options: ReplaceOptions = {}): ReplacementReport {
  const { dilatedKernelSize = 17, version = "v0", sharePositions = true, positionStd } = options;
  const { seed = anySeed() } = options;
  if (!Number.isInteger(dilatedKernelSize) || dilatedKernelSize < 1 || dilatedKernelSize % 2 === 0) {
    throw new RangeError(
      `Cannot replace depthwise layers: dilatedKernelSize must be a positive odd integer, got ${dilatedKernelSize}`,
    );
  }
  const found = findDepthwise(model);
  if (found.length === 0) {
    throw new RangeError(
      `Cannot replace depthwise layers of ${model.constructor.name}: it must have a Conv1d, Conv2d or Conv3d whose ` +
        "groups are its input channels, more than one, got none",
    );
  }
  const paddings = found.map((one) => newPadding(one, dilatedKernelSize));
  const classes = found.map(({ layer }) => classFor(layer));
  const owners = positionOwners(found, sharePositions);
  const kernelCount = options.kernelCount ?? largestKernelCount(
    found.map(({ layer: { weight } }, i) => {
      const axes = (weight.shape.length - 2) * (INTERPOLATION[version]?.spread ? 2 : 1);
      return {
        rows: weight.shape[0],
        cells: sizeOf(weight.shape.slice(2)),
        axes: owners[i] === i ? axes : 0,
      };
    }),
  );
  if (kernelCount === 0) {
    throw new RangeError(
      "Cannot replace depthwise layers: the dense weights must be enough for one element and its position in each " +
        `kernel, got kernels of ${found.map(({ layer }) => layer.spec.kernelSize.join(" x ")).join(", ")}; ` +
        "give kernelCount where the model may grow",
    );
  }
  const parametersBefore = countParameters(model);
  const made: DclsNd[] = [];
  try {
    found.forEach(({ layer: { spec, weight, bias } }, i) => {
      const { inChannels, stride, groups, paddingMode } = spec;
      const owner = made[owners[i]];
      const layer = new classes[i](inChannels, weight.shape[0], {
        ...{ kernelCount, dilatedKernelSize, stride, groups, paddingMode, version, positionStd },
        bias: bias !== null,
        padding: paddings[i],
        seed: deriveSeed(seed, i),
        ...(owner ? { P: owner.P, SIG: owner.SIG } : {}),
      });
      layer.bias?.dispose();
      made.push(Object.assign(layer, { bias })); // the very parameter, whoever else may hold it
    });
  } catch (error) {
    for (const { weight, P, SIG } of made) [weight, P, SIG].forEach((parameter) => parameter?.dispose());
    throw error;
  }
  found.forEach(({ layer, places }, i) => {
    made[i].train(layer.training);
    for (const { holder, key } of places) Reflect.set(holder, key, made[i]);
  });
  const own = (parameters: (Parameter | null)[]): number =>
    parameters.reduce((sum, parameter) => sum + (parameter?.size ?? 0), 0);
  return {
    kernelCount,
    dilatedKernelSize,
    layers: found.map(({ path, layer }, i): Replacement => {
      const { weight, bias, P, SIG, constructor } = made[i];
      return {
        path,
        from: layer.constructor.name,
        to: constructor.name,
        kernelSize: layer.spec.kernelSize,
        sharesWith: owners[i] === i ? null : found[owners[i]].path,
        parametersBefore: own([layer.weight, layer.bias]),
        parametersAfter: own([weight, bias, ...owners[i] === i ? [P, SIG] : []]),
      };
    }),
    parametersBefore,
    parametersAfter: countParameters(model),
  };
}
