/** A model from a file of weights: `.pth` or safetensors, and the form that the weights have. */
import { readPth, readSafetensors } from "../../io/mod.ts";
import { ConvNeXt, type ConvNeXtOptions, modelName, MODELS } from "../../models/mod.ts";
import type { Layout, StateInput } from "../../nn/mod.ts";

/** What {@linkcode loadModel} may be told. */
export interface WeightsOptions {
  /** A model's name, or `"auto"`: the form follows from the weights. */
  readonly model: string;
  /** Which state of a `.pth` file. */
  readonly key?: string;
  /** Dilated kernel size where the form follows from the weights: they do not tell. */
  readonly kernelSize?: number;
  /** Axis order of the positions. */
  readonly layout: Layout;
}

/** A model with its weights, and what to call it. */
export interface LoadedModel {
  readonly model: ConvNeXt;
  /** `convnext-dcls-tiny`, or what was found in the file: `ConvNeXt 2-1 of 8-16 channels`. */
  readonly name: string;
}

function refuse(file: string, rule: string): never {
  throw new RangeError(`Cannot load ${file}: ${rule}`);
}

/** The tensors of a file, by what it is rather than by its name. */
export function readWeights(bytes: Uint8Array, file: string, key?: string): StateInput {
  let tensors: StateInput;
  try {
    // A safetensors file starts with eight bytes of length; then its header's JSON opens.
    tensors = bytes[8] === 0x7b && !(bytes[0] === 0x50 && bytes[1] === 0x4b)
      ? readSafetensors(bytes).tensors
      : readPth(bytes, { key }).tensors;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(
      `Cannot load ${file}: it must be a whole .pth or safetensors file, got one that says: ${reason}`,
      {
        cause,
      },
    );
  }
  // Models wrapped for several GPUs put this before every name.
  const wrapped = Object.keys(tensors).every((name) => name.startsWith("module."));
  if (!wrapped) return tensors;
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name.slice(7), tensor]));
}

/** How many names of that form there are, counting from 0. */
function countOf(state: StateInput, name: (i: number) => string): number {
  let count = 0;
  while (Object.hasOwn(state, name(count))) count++;
  return count;
}

function equal(a: ArrayLike<number | bigint>, b: ArrayLike<number | bigint>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * The options of a ConvNeXt whose parameters have the shapes of this state.
 * @param kernelSize dilated kernel size; default: 17, with spreads 23, as in the papers
 * @throws {RangeError} "Cannot load <file>: ..." where it is no ConvNeXt, or positions lie outside that size
 */
export function formOf(state: StateInput, file: string, kernelSize?: number): ConvNeXtOptions {
  const shape = (name: string): readonly number[] =>
    Object.hasOwn(state, name) ? state[name].shape : refuse(file, `a ConvNeXt must have ${name}, got none`);
  const stages = countOf(state, (i) => `stages.${i}.0.norm.weight`);
  if (stages === 0) refuse(file, "a ConvNeXt must have stages.0.0.norm.weight, got other names");
  const [, inChannels, stemSize] = shape("downsample_layers.0.0.weight");
  const depths: number[] = [], dims: number[] = [];
  for (let stage = 0; stage < stages; stage++) {
    depths.push(countOf(state, (i) => `stages.${stage}.${i}.norm.weight`));
    dims.push(shape(`stages.${stage}.0.norm.weight`)[0]);
  }
  const common = {
    inChannels,
    stemSize,
    depths,
    dims,
    classes: shape("head.weight")[0],
    layerScale: Object.hasOwn(state, "stages.0.0.gamma") ? 1 : null,
  };
  const weight = shape("stages.0.0.dwconv.weight");
  if (!Object.hasOwn(state, "stages.0.0.dwconv.P")) {
    return { ...common, conv: "standard", kernelSize: weight[weight.length - 1] };
  }
  const version = Object.hasOwn(state, "stages.0.0.dwconv.SIG") ? "gauss" as const : "v0" as const;
  const dilatedKernelSize = kernelSize ?? (version === "gauss" ? 23 : 17);
  const limit = Math.floor(dilatedKernelSize / 2);
  let sharePositions = true;
  for (const [stage, depth] of depths.entries()) {
    const first = state[`stages.${stage}.0.dwconv.P`]?.data ?? [];
    for (let i = 0; i < depth; i++) {
      const { data } = state[`stages.${stage}.${i}.dwconv.P`] ?? { data: first };
      const furthest = Array.from(data as ArrayLike<number>).reduce(
        (most, p) => Math.max(most, Math.abs(p)),
        0,
      );
      if (furthest > limit + 1e-3) {
        refuse(
          file,
          `positions must lie within ${limit} cells for a kernel size of ${dilatedKernelSize}, got ` +
            `${furthest.toFixed(2)}; say the right size with --kernel-size`,
        );
      }
      if (!equal(data, first)) sharePositions = false;
    }
  }
  return {
    ...common,
    conv: "dcls",
    version,
    dilatedKernelSize,
    kernelCount: weight[weight.length - 1],
    sharePositions,
  };
}

/** What to call a model found in a file. */
function describe(model: ConvNeXt): string {
  const { conv, depths, dims, kernelSize, kernelCount, dilatedKernelSize, version } = model.spec;
  const kernels = conv === "dcls"
    ? `DCLS ${version}, ${kernelCount} elements in ${dilatedKernelSize}x${dilatedKernelSize}`
    : `${kernelSize}x${kernelSize} kernels`;
  return `ConvNeXt of ${depths.join("-")} blocks, ${dims.join("-")} channels, ${kernels}`;
}

/**
 * Makes the model that a file's weights are for, on the running backend, and loads them.
 * @throws {RangeError} where the weights are not those of that model; nothing is half-loaded
 * @throws {Error} where the file is damaged
 */
export function loadModel(bytes: Uint8Array, file: string, options: WeightsOptions): LoadedModel {
  const { model: wanted, key, kernelSize, layout } = options;
  const state = readWeights(bytes, file, key);
  // A model that is named keeps its own form; only the number of classes is the file's.
  const classes = Object.hasOwn(state, "head.weight") ? state["head.weight"].shape[0] : undefined;
  const weightStd = 0; // the file's weights come in place of random ones, which take time to draw
  const model = wanted === "auto"
    ? new ConvNeXt({ ...formOf(state, file, kernelSize), weightStd })
    : MODELS[modelName(wanted)]({ classes, weightStd });
  try {
    model.loadStateDict(state, { layout });
  } catch (cause) {
    model.dispose();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new RangeError(`Cannot load ${file}: ${reason}`, { cause });
  }
  return { model, name: wanted === "auto" ? describe(model) : modelName(wanted) };
}
