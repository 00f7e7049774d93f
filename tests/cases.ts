/**
 * The reference cases of `fixtures/layers.safetensors`: layers of the PyTorch package dcls 0.1.1 (PyTorch 2.11),
 * computed in float64 and stored as float32, here with positions and spreads in our axis order.
 */
import { readSafetensors } from "../src/io/safetensors.ts";
import { FORMS, type LayerName } from "../src/nn/forms.ts";
import { fromTorch } from "../src/nn/layout.ts";
import {
  type DclsOptions,
  type LayerSpec,
  layerSpec,
  type PaddingMode,
  type Shape,
  type Version,
} from "../src/spec.ts";

/** The tensors of a case; SIG is there for `max` and `gauss`, bias where the layer has one. */
export type CaseTensorName =
  | "input"
  | "weight"
  | "P"
  | "SIG"
  | "bias"
  | "kernel"
  | "output"
  | "grad_output"
  | "grad_input"
  | "grad_weight"
  | "grad_P"
  | "grad_SIG"
  | "grad_bias";

/** One tensor of a case. */
export interface CaseTensor {
  readonly shape: Shape;
  readonly data: Float32Array;
}

/** One layer with its input and what PyTorch made of it. */
export interface LayerCase {
  /** Such as "2d-gauss-nonsquare". */
  readonly name: string;
  readonly module: LayerName;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly options: DclsOptions & { denseKernelSize?: number | readonly number[]; flatDim?: 0 | 1 };
  readonly inputShape: Shape;
  /** What `layerSpec` makes of the options. */
  readonly spec: LayerSpec;
  readonly tensors: Readonly<Partial<Record<CaseTensorName, CaseTensor>>>;
}

/** A case as the fixture's metadata describe it: the arguments of the PyTorch class. */
interface StoredCase {
  name: string;
  module: LayerName;
  args: {
    in_channels: number;
    out_channels: number;
    kernel_count: number;
    dilated_kernel_size: number | number[];
    dense_kernel_size?: number | number[];
    flat_dim?: 0 | 1;
    stride?: number | number[];
    padding?: number | number[];
    groups?: number;
    bias?: boolean;
    padding_mode?: PaddingMode;
    version: Version;
  };
  input_shape: number[];
}

/** PyTorch's argument names and ours. */
const OPTION_NAMES = {
  kernel_count: "kernelCount",
  dilated_kernel_size: "dilatedKernelSize",
  dense_kernel_size: "denseKernelSize",
  flat_dim: "flatDim",
  stride: "stride",
  padding: "padding",
  groups: "groups",
  bias: "bias",
  padding_mode: "paddingMode",
  version: "version",
} as const;

function convert({ name, module, args, input_shape }: StoredCase): Omit<LayerCase, "tensors"> {
  const { in_channels: inChannels, out_channels: outChannels, ...rest } = args;
  const options = Object.fromEntries(
    Object.entries(rest).map(([key, value]) => {
      if (!(key in OPTION_NAMES)) throw new Error(`Cannot read case ${name}: unknown argument ${key}`);
      return [OPTION_NAMES[key as keyof typeof OPTION_NAMES], value];
    }),
  ) as unknown as LayerCase["options"];
  const spec = layerSpec(FORMS[module], inChannels, outChannels, options);
  return { name, module, inChannels, outChannels, options, inputShape: input_shape, spec };
}

/** P and SIG and their gradients in our axis order; the kernel with the flat axis that PyTorch leaves out. */
function turn(spec: LayerSpec, name: string, { shape, data }: CaseTensor): CaseTensor {
  switch (name) {
    case "P":
      return { shape, data: fromTorch(spec, "P", data, shape) };
    case "SIG":
    case "grad_P":
    case "grad_SIG":
      return { shape, data: fromTorch(spec, "SIG", data, shape) };
    case "kernel":
      return { shape: spec.kernelShape, data };
    default:
      return { shape, data };
  }
}

function load(): LayerCase[] {
  const file = readSafetensors(Deno.readFileSync(new URL("fixtures/layers.safetensors", import.meta.url)));
  const cases = (JSON.parse(file.metadata.cases) as StoredCase[]).map(convert);
  const entries = Object.entries(file.tensors);
  return cases.map((layer) => {
    const prefix = `${layer.name}/`;
    const tensors = entries.filter(([key]) => key.startsWith(prefix)).map(([key, { shape, data }]) => {
      if (!(data instanceof Float32Array)) throw new Error(`Cannot read ${key}: expected float32`);
      const name = key.slice(prefix.length);
      return [name, turn(layer.spec, name, { shape, data })];
    });
    return { ...layer, tensors: Object.fromEntries(tensors) };
  });
}

/** All 63 of them. */
export const LAYER_CASES: readonly LayerCase[] = load();

/**
 * A tensor of a case that has to be there.
 * @throws {Error} if the fixture does not hold it
 */
export function caseTensor({ name, tensors }: LayerCase, tensor: CaseTensorName): CaseTensor {
  const found = tensors[tensor];
  if (!found) throw new Error(`Cannot use case ${name}: the fixture has no ${tensor}`);
  return found;
}
