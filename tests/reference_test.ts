/** The float64 reference against the PyTorch package: every tensor of every case. */
import { convolution } from "../src/reference/convolution.ts";
import { constructKernel } from "../src/reference/constructKernel.ts";
import { pad } from "../src/reference/pad.ts";
import type { ReferenceHandle } from "../src/reference/operand.ts";
import type { Operand } from "../src/backend.ts";
import { convolution as convolutionOp } from "../src/ops/convolution.ts";
import type { LayerSpec, Shape } from "../src/spec.ts";
import { assertClose, assertEquals } from "./assert.ts";
import { caseTensor, type CaseTensorName, LAYER_CASES, type LayerCase } from "./cases.ts";

/**
 * The fixture is float64 rounded to float32, so half a step of float32 (6e-8) is the floor; on non-square kernels the
 * shifted P is rounded once more, and the worst seen is 3.6e-7 (grad_P of 2d-gauss-nonsquare).
 */
const TOLERANCE = 1e-6;

type Tensor = Operand<ReferenceHandle>;

function tensor(shape: Shape, data: ArrayLike<number>): Tensor {
  return { shape, handle: { data: Float64Array.from(data) } };
}

/** Forward and backward of a layer, spelled out op by op; the names are the fixture's. */
function runLayer(layer: LayerCase): Map<CaseTensorName, Float64Array> {
  const { spec } = layer;
  const read = (name: CaseTensorName): Tensor => {
    const { shape, data } = caseTensor(layer, name);
    return tensor(shape, data);
  };
  const [x, weight, P] = [read("input"), read("weight"), read("P")];
  const SIG = layer.tensors.SIG ? read("SIG") : null;
  const bias = spec.bias ? read("bias") : null;

  const construct = {
    version: spec.version,
    spreadOffset: spec.spreadOffset,
    size: spec.dilatedKernelSize,
    weightShape: spec.weightShape,
    kernelShape: spec.kernelShape,
  };
  const kernel = {
    shape: spec.kernelShape,
    handle: constructKernel.forward([weight, P, SIG], construct, spec.kernelShape),
  };
  const padded = padInput(spec, x);
  const convolve = {
    stride: spec.stride,
    padding: spec.paddingMode === "zeros" ? spec.padding : spec.padding.map(() => 0),
    dilation: spec.stride.map(() => 1),
    groups: spec.groups,
  };
  const outputShape = convolutionOp.outputShape([padded.shape, kernel.shape, bias && bias.shape], convolve);
  assertEquals([...outputShape], [...caseTensor(layer, "output").shape]);
  const output = convolution.forward([padded, kernel, bias], convolve, outputShape);

  const [gradPadded, gradKernel, gradBias] = convolution.backward(
    read("grad_output"),
    [padded, kernel, bias],
    convolve,
    [true, true, bias !== null],
  );
  const [gradWeight, gradP, gradSIG] = constructKernel.backward(
    { shape: spec.kernelShape, handle: gradKernel! },
    [weight, P, SIG],
    construct,
    [true, true, SIG !== null],
  );
  const [gradInput] = spec.paddingMode === "zeros" ? [gradPadded] : pad.backward(
    { shape: padded.shape, handle: gradPadded! },
    [x],
    { padding: spec.padding, mode: spec.paddingMode },
    [true],
  );
  return new Map(
    Object.entries({
      kernel: kernel.handle,
      output,
      grad_input: gradInput,
      grad_weight: gradWeight,
      grad_P: gradP,
      grad_SIG: gradSIG,
      grad_bias: gradBias,
    }).flatMap(([name, handle]) => handle ? [[name as CaseTensorName, handle.data]] : []),
  );
}

function padInput({ paddingMode, padding }: LayerSpec, x: Tensor): Tensor {
  if (paddingMode === "zeros") return x;
  const shape = [x.shape[0], x.shape[1], ...padding.map((p, a) => x.shape[a + 2] + 2 * p)];
  return { shape, handle: pad.forward([x], { padding, mode: paddingMode }, shape) };
}

Deno.test("reference: there are 63 cases", () => assertEquals(LAYER_CASES.length, 63));

for (const layer of LAYER_CASES) {
  Deno.test(`reference: ${layer.name} has PyTorch's numbers`, () => {
    const computed = runLayer(layer);
    const expected: CaseTensorName[] = ["kernel", "output", "grad_input", "grad_weight", "grad_P"];
    if (layer.spec.version === "max" || layer.spec.version === "gauss") expected.push("grad_SIG");
    if (layer.spec.bias) expected.push("grad_bias");
    assertEquals([...computed.keys()].toSorted(), expected.toSorted());
    for (const name of expected) {
      const { shape, data } = caseTensor(layer, name);
      assertClose(`${layer.name} ${name}`, computed.get(name)!, data, TOLERANCE, shape);
    }
  });
}
