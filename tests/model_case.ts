/** The reference model of `fixtures/model.safetensors`: a small ConvNeXt-dcls as PyTorch computed it, in float64. */
import { readSafetensors } from "../src/io/mod.ts";
import { ConvNeXt } from "../src/models/mod.ts";

/** A tensor of the fixture. */
export interface FixtureTensor {
  readonly shape: number[];
  readonly data: Float32Array;
}

const { tensors, metadata } = readSafetensors(
  Deno.readFileSync(new URL("fixtures/model.safetensors", import.meta.url)),
);

/** A tensor of the fixture by name, as float32. */
export function fixture(name: string): FixtureTensor {
  if (!Object.hasOwn(tensors, name)) throw new Error(`Cannot use the fixture: it has no ${name}`);
  const { shape, data } = tensors[name];
  return { shape, data: Float32Array.from(data as ArrayLike<number>) };
}

/** The tensors under `prefix/`, by the rest of their names. */
export function fixtures(prefix: string): Record<string, FixtureTensor> {
  const names = Object.keys(tensors).filter((name) => name.startsWith(`${prefix}/`));
  return Object.fromEntries(names.map((name) => [name.slice(prefix.length + 1), fixture(name)]));
}

/** A model of the fixture's form with its parameters loaded. */
export function fixtureModel(): ConvNeXt {
  const config = JSON.parse(metadata.config);
  const model = new ConvNeXt({
    classes: config.num_classes,
    depths: config.depths,
    dims: config.dims,
    dilatedKernelSize: config.dcls_kernel_size,
    kernelCount: config.dcls_kernel_count,
    version: config.version,
  });
  model.loadStateDict(fixtures("state"), { layout: "torch" });
  return model;
}
