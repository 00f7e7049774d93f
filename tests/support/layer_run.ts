/**
 * One layer, forward and backward, through the public classes: what every proof compares between backends.
 * @module
 */
import { tensor } from "../../src/create.ts";
import type { DType } from "../../src/dtype.ts";
import {
  Dcls1d,
  Dcls2_1d,
  Dcls2d,
  Dcls2dK1d,
  Dcls3_1d,
  Dcls3d,
  type DclsNd,
  type Layout,
} from "../../src/nn/mod.ts";
import { readAll, type Tensor } from "../../src/tensor.ts";
import { assertEquals } from "../assert.ts";
import type { CaseTensor, CaseTensorName, LayerCase } from "../cases.ts";

const CLASSES = { Dcls1d, Dcls2d, Dcls3d, Dcls2_1d, Dcls3_1d, Dcls2dK1d };

/** A layer's class and arguments. */
export type LayerArguments = Pick<LayerCase, "module" | "inChannels" | "outChannels" | "options">;

/** A layer's parameters, its input and the gradient of its output. */
export interface LayerValues {
  readonly state: Readonly<Record<string, CaseTensor>>;
  /** Whose axis order the state is in. Default: this module's. */
  readonly layout?: Layout;
  readonly input: CaseTensor;
  readonly gradient: CaseTensor;
  /** Of the input and of the gradient. Default: float32. */
  readonly dtype?: DType;
}

/** Kernel, output and the gradients of all that the layer has. */
export type LayerResults = ReadonlyMap<CaseTensorName, CaseTensor>;

/** The layer, on the running backend. */
export function makeLayer({ module, inChannels, outChannels, options }: LayerArguments): DclsNd {
  // The options of a case are those of its own class.
  return new CLASSES[module](inChannels, outChannels, options as never);
}

/** Loads, constructs, convolves, goes back; reads everything in one wait and gives all storage back. */
export async function runLayer(layer: LayerArguments, values: LayerValues): Promise<LayerResults> {
  const made = makeLayer(layer);
  made.loadStateDict(values.state, { layout: values.layout });
  const { input, gradient: dy, dtype } = values;
  const x = tensor(input.data, input.shape, { requiresGrad: true, dtype });
  const gradient = tensor(dy.data, dy.shape, { dtype });
  const kernel = made.constructKernel();
  const y = made.forward(x);
  y.backward(gradient);
  const results = Object.entries({
    kernel,
    output: y,
    grad_input: x.grad,
    grad_weight: made.weight.grad,
    grad_P: made.P.grad,
    grad_SIG: made.SIG?.grad,
    grad_bias: made.bias?.grad,
  }).filter((entry): entry is [CaseTensorName, Tensor] => Boolean(entry[1]));
  assertEquals(made.namedParameters().map(([name]) => name).toSorted(), Object.keys(values.state).toSorted());
  const data = await readAll(results.map(([, result]) => result));
  const read = results.map(([name, { shape }], i) => [name, { shape, data: data[i] }] as const);
  for (const used of [made, x, gradient, kernel, y]) used.dispose();
  return new Map(read);
}
