/**
 * The poster's layer, op by op and as a whole, on every backend that runs here: 96 depthwise channels, 34 elements in
 * 17 x 17 (version v0), images of 56 x 56. Groups carry the ops' names.
 *
 *     deno bench                  text; --json for JSON, --filter convolution for some of them
 *     deno bench --allow-read     tfjs as well: its wasm engine is a file, and nothing else here needs a permission
 *
 * Before anything is timed, the layer's output and all its gradients are compared with float64.
 *
 * One iteration queues the work `repeats` times and then waits for the device by reading one element: what is timed is
 * JavaScript's part, the device's, and one wait. The group `wait` is that wait alone; on WebGPU under Deno it takes 10
 * to 12 ms, however short the work, hence the repeats on GPUs, which need less than a millisecond for an op. A group's
 * first iteration is preceded by 300 ms of the same work, untimed: kernels are compiled then, and GPUs leave their
 * idle clocks.
 */
import { Dcls2d, init, randn, type Tensor, tensor, tidy } from "../mod.ts";
import { type Backend, type BackendInfo, currentBackend, type Handle, type Operand } from "../src/backend.ts";
import type { ConstructKernelAttributes } from "../src/ops/constructKernel.ts";
import type { ConvolutionAttributes } from "../src/ops/convolution.ts";
import { fillNormal } from "../src/random.ts";
import { sizeOf } from "../src/spec.ts";
import { compareWithFloat64 } from "../src/tasks/poster/check.ts";

const CHANNELS = 96, EXTENT = 56, SIZE = 17, PADDING = 8, KERNEL_COUNT = 34;
/** The poster's own batch on a GPU, and one that a CPU gets through in some hundredths of a second. */
const GPU = { batch: 128, repeats: 50 }, CPU = { batch: 4, repeats: 1 };
const WARM_UP_MILLISECONDS = 300;
const TOLERANCE = 1e-4;

/** To the standard error: with --json, the standard output belongs to the results. */
function note(line: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${line}\n`));
}

/** A backend, and the layer's tensors on it. */
interface Subject {
  readonly info: BackendInfo;
  readonly label: string;
  readonly repeats: number;
  readonly backend: Backend;
  readonly layer: Dcls2d;
  readonly x: Tensor;
  readonly one: Tensor;
}

async function prepare(name: "webgpu" | "tfjs"): Promise<Subject> {
  const info = await init({ backend: name });
  const { batch, repeats } = info.software ? CPU : GPU;
  const layer = new Dcls2d(CHANNELS, CHANNELS, {
    kernelCount: KERNEL_COUNT,
    dilatedKernelSize: SIZE,
    padding: PADDING,
    groups: CHANNELS,
    seed: 0,
  });
  const x = randn([batch, CHANNELS, EXTENT, EXTENT], { seed: 1, requiresGrad: true });
  const label =
    `${name}${info.software && name === "webgpu" ? " on a software adapter" : ""}, batch ${batch}` +
    (repeats > 1 ? `, ${repeats} times` : "");
  return { info, label, repeats, backend: currentBackend("bench"), layer, x, one: tensor([1], [1]) };
}

/**
 * Compares the layer with float64.
 * @throws {Error} where a tensor is off: times of wrong numbers mean nothing
 */
async function verify({ info, layer, x }: Subject): Promise<void> {
  const output = layer.forward(x);
  const loss = output.sum();
  const sum = await loss.item();
  loss.backward();
  const read = (y: Tensor | null): Promise<Float32Array> => y!.data();
  const comparisons = compareWithFloat64({
    batch: x.shape[0],
    channels: CHANNELS,
    extent: EXTENT,
    size: SIZE,
    padding: PADDING,
    kernelCount: KERNEL_COUNT,
    input: fillNormal(new Float32Array(x.size), 1),
    weight: await layer.weight.data(),
    P: await layer.P.data(),
    bias: await read(layer.bias),
  }, {
    output: await output.data(),
    sum,
    weight: await read(layer.weight.grad),
    P: await read(layer.P.grad),
    bias: await read(layer.bias!.grad),
    input: await read(x.grad),
  });
  for (const each of [output, loss]) each.dispose();
  layer.zeroGrad();
  x.zeroGrad();
  const worst = comparisons.reduce((a, b) => b.error > a.error ? b : a);
  if (!(worst.error <= TOLERANCE)) {
    throw new Error(
      `Cannot bench ${info.name}: its numbers must be within ${TOLERANCE} of float64's, got an error of ` +
        `${worst.error} in the ${worst.name}`,
    );
  }
  note(
    `${info.name}: ${info.adapter}, largest error against float64 ${
      worst.error.toExponential(1)
    } (${worst.name})`,
  );
  if (info.software && info.name === "webgpu") {
    note(
      "        a SOFTWARE adapter: its times compare variants of the code here, and say nothing about GPUs",
    );
  }
}

/** Registers one benchmark; `work` queues the op once. Different batches are not compared with one another. */
function time(subject: Subject, op: string, work: () => void): void {
  const { info, label, repeats, one } = subject;
  const group = found.every((other) => other.x.shape[0] === subject.x.shape[0]) ? op : `${op} (${info.name})`;
  let isWarm = false;
  const once = async (): Promise<void> => {
    for (let i = 0; i < repeats; i++) work();
    await one.data(); // queued after the work: waits for all of it
  };
  Deno.bench({
    name: `${op} [${label}]`,
    group,
    baseline: info.name === "webgpu",
    fn: async (bench) => {
      const started = performance.now();
      while (!isWarm) {
        await once();
        isWarm = performance.now() - started > WARM_UP_MILLISECONDS;
      }
      bench.start();
      await once();
      bench.end();
    },
  });
}

/** The ops through the backend's own interface: no tape, and only the gradient that is asked for. */
function timeOps(subject: Subject): void {
  const { backend, layer, x } = subject;
  const { spec } = layer;
  const on = (shape: readonly number[], seed: number): Operand => ({
    handle: backend.upload(fillNormal(new Float32Array(sizeOf(shape)), seed), shape),
    shape,
  });
  const input = on(x.shape, 1), kernel = on(spec.kernelShape, 2), bias = on([CHANNELS], 3);
  const weight = on(spec.weightShape, 4), P = on(spec.positionShape, 5), dy = on(x.shape, 6);
  const construction: ConstructKernelAttributes = {
    version: spec.version,
    spreadOffset: spec.spreadOffset,
    size: spec.dilatedKernelSize,
    weightShape: spec.weightShape,
    kernelShape: spec.kernelShape,
  };
  const convolution: ConvolutionAttributes = {
    stride: spec.stride,
    padding: spec.padding,
    dilation: [1, 1],
    groups: spec.groups,
  };
  const release = (handles: readonly (Handle | null)[]): void => {
    for (const handle of handles) if (handle) backend.release(handle);
  };
  const gradients = (needs: readonly boolean[]) => (): void =>
    release(backend.backward("convolution", dy, [input, kernel, bias], convolution, needs));
  time(
    subject,
    "constructKernel",
    () => release([backend.forward("constructKernel", [weight, P, null], construction, spec.kernelShape)]),
  );
  time(
    subject,
    "constructKernelBackward",
    () =>
      release(
        backend.backward("constructKernel", kernel, [weight, P, null], construction, [true, true, false]),
      ),
  );
  time(
    subject,
    "convolution",
    () => release([backend.forward("convolution", [input, kernel, bias], convolution, x.shape)]),
  );
  time(subject, "convBackwardInput", gradients([true, false, false]));
  time(subject, "convBackwardKernel", gradients([false, true, false]));
}

/** The layer as it is used. */
function timeLayer(subject: Subject): void {
  const { layer, x } = subject;
  time(subject, "Dcls2d forward", () => tidy(() => void layer.forward(x)));
  time(subject, "Dcls2d forward and backward, all gradients", () => {
    tidy(() => layer.forward(x).sum().backward());
    layer.zeroGrad();
    x.zeroGrad();
  });
}

/** The backends that can run here, the others named with the reason. */
async function subjects(): Promise<Subject[]> {
  const started: Subject[] = [];
  const attempt = async (name: "webgpu" | "tfjs"): Promise<void> => {
    try {
      started.push(await prepare(name));
    } catch (error) {
      note(`${name} is left out: ${error instanceof Error ? error.message : error}`);
    }
  };
  await attempt("webgpu");
  // Asking for the permission would stop the benchmarks at a prompt.
  if (Deno.permissions.querySync({ name: "read" }).state === "granted") await attempt("tfjs");
  else {note(
      "tfjs is left out: its engine is a file; `deno bench --allow-read` or `deno task bench` includes it",
    );}
  return started;
}

const found = await subjects();
for (const subject of found) {
  await verify(subject);
  timeOps(subject);
  timeLayer(subject);
  time(subject, "wait", () => {});
}
