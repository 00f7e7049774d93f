/** Too late, elsewhere, too early: tensors after dispose and of another backend, ops before init, init itself. */
import { type BackendName, init, memory, shutdown } from "../src/backend.ts";
import { ones, randn, tensor, uniform, zeros } from "../src/create.ts";
import { crossEntropy, Dcls1d, Linear } from "../src/nn/mod.ts";
import { readAll, type Tensor } from "../src/tensor.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

testBackends("a tensor is refused after dispose, whatever is done with it", async () => {
  const gone = (): Tensor => {
    const x = ones([1], { requiresGrad: true });
    x.dispose();
    x.dispose(); // again is no error
    assert(x.isDisposed);
    return x;
  };
  const layer = new Dcls1d(1, 1, { kernelCount: 1, dilatedKernelSize: 1 });
  const without = new Dcls1d(1, 1, { kernelCount: 1, dilatedKernelSize: 1 });
  without.weight.dispose();
  const image = ones([1, 1, 4]);
  const goneImage = ones([1, 1, 4]);
  goneImage.dispose();
  const loss = (): Tensor => ones([1], { requiresGrad: true }).mul(2);
  const message =
    /the tensor of shape \[.*\] was disposed, by dispose\(\) or by the tidy\(\) around it; return it/;
  const uses: (() => unknown)[] = [
    () => gone().mul(2),
    () => gone().relu(),
    () => gone().sum(),
    () => gone().mean(),
    () => gone().reshape([1, 1]),
    () => gone().add(ones([1])),
    () => ones([1]).div(gone()),
    () => gone().backward(),
    () => loss().backward(gone()),
    () => gone().backend,
    () => layer.forward(goneImage),
    () => without.forward(image),
    () => without.constructKernel(),
    () => without.weight.assign([1]),
    () => crossEntropy(ones([1, 2]), gone()),
  ];
  for (const use of uses) {
    const error = assertThrows(use, Error);
    assert(message.test(error.message), `${use}: ${error.message}`);
  }
  for (const read of [() => gone().data(), () => gone().item(), () => readAll([image, gone()])]) {
    const error = await assertRejects(read, Error);
    assert(message.test(error.message), error.message);
  }
  await assertRejects(() => without.stateDict(), Error, "was disposed");
  // What the gradient passes, or an op needs for it, is gone by then.
  for (const which of ["leaf", "between", "constant"] as const) {
    const leaf = ones([3], { requiresGrad: true }), between = leaf.square(), constant = ones([3]);
    const total = between.mul(constant).sum();
    ({ leaf, between, constant })[which].dispose();
    const doing = which === "constant" ? "take the gradient of binary" : "run backward()";
    assertThrows(() => total.backward(), Error, `Cannot ${doing}: the tensor of shape [3]`);
    for (const used of [leaf, between, constant, total]) used.dispose();
  }
  for (const used of [layer, without, image]) used.dispose();
});

/** A backend that is not the one under test. */
const otherThan = (name: BackendName): BackendName => name === "reference" ? "tfjs" : "reference";

testBackends("a tensor of another backend is refused, and stays readable", async ({ name }) => {
  const other = otherThan(name);
  await init({ backend: other });
  const foreign = ones([2]), image = ones([1, 1, 4]), foreignLayer = new Linear(2, 1);
  await init({ backend: name });
  const own = ones([2]);
  const layer = new Dcls1d(1, 1, { kernelCount: 1, dilatedKernelSize: 1 });
  const y = ones([2], { requiresGrad: true }).mul(2);
  const both = (first: BackendName, second: BackendName): string =>
    `all tensors must live on one backend, got ${first} and ${second}; copy with tensor(await x.data(), x.shape)`;
  const uses: [() => unknown, string][] = [
    [() => own.add(foreign), `Cannot run binary: ${both(name, other)}`],
    [() => foreign.mul(own), `Cannot run binary: ${both(other, name)}`],
    [() => layer.forward(image), `Cannot run convolution: ${both(other, name)}`],
    [() => y.backward(foreign), `Cannot run backward(): ${both(name, other)}`],
    [() => foreignLayer.weight.assign([1, 2]), `Cannot run assign: ${both(other, name)}`],
  ];
  for (const [use, message] of uses) assertThrows(use, Error, message);
  await assertRejects(() => readAll([own, foreign]), Error, `Cannot run read: ${both(name, other)}`);
  // Nothing of it was done: the gradient can still be taken, and the foreign ones live on their own backend.
  y.backward(own);
  assertEquals([...await foreign.mul(3).data()], [3, 3]);
  assertEquals((await foreignLayer.forward(foreign.reshape([1, 2])).data()).length, 1);
  assertEquals([...await own.add(tensor(await foreign.data(), foreign.shape)).data()], [2, 2]);
  for (const used of [foreign, image, foreignLayer, own, layer, y]) used.dispose();
});

testBackends("before init, and after shutdown, every beginning says what to call", async ({ name }) => {
  const x = ones([2]);
  const layer = new Dcls1d(1, 1, { kernelCount: 1, dilatedKernelSize: 3 });
  shutdown();
  shutdown(); // again is no error
  const beginnings: [string, () => unknown][] = [
    ["create a tensor", () => tensor([1], [1])],
    ["create a tensor", () => zeros([1])],
    ["create a tensor", () => ones([1])],
    ["create a tensor", () => randn([1])],
    ["create a tensor", () => uniform([1])],
    ["create a parameter", () => new Dcls1d(1, 1, { kernelCount: 1, dilatedKernelSize: 3 })],
    ["create a parameter", () => new Linear(1, 1)],
    ["run unary", () => x.mul(2)],
    ["run sum", () => x.sum()],
    ["run constructKernel", () => layer.constructKernel()],
    ["read memory", () => memory()],
  ];
  for (const [doing, begin] of beginnings) {
    const error = assertThrows(begin, Error);
    assertEquals(error.message, `Cannot ${doing}: no backend is running, call \`await init()\` first`);
  }
  const message = " was ended by shutdown(); read what you need before it";
  await assertRejects(
    () => x.data(),
    Error,
    "Cannot use a tensor: the backend of the tensor of shape [2]" + message,
  );
  await init({ backend: name });
  assertEquals(memory().buffers, 0);
  assertThrows(() => x.mul(2), Error, message);
  assertThrows(() => x.add(ones([2])), Error, message);
  assertThrows(() => layer.forward(ones([1, 1, 3])), Error, message);
  await assertRejects(() => layer.stateDict(), Error, message);
  for (const used of [x, layer]) used.dispose(); // is no error
});

Deno.test("init refuses a backend it does not know, and a device for another one", async () => {
  await assertRejects(
    () => init({ backend: "cuda" as "webgpu" }),
    RangeError,
    'Cannot init: backend must be "auto", "webgpu", "tfjs" or "reference", got "cuda"',
  );
  await assertRejects(
    () => init({ backend: "tfjs", device: {} as GPUDevice }),
    RangeError,
    'Cannot init: a device needs backend "webgpu", got "tfjs"',
  );
  await init({ backend: "reference" });
  await assertRejects(() => init({ backend: "cuda" as "webgpu" }), RangeError);
  assertEquals((await ones([2]).data()).length, 2); // the running backend stays
});

const ADAPTERLESS = `
import { init } from ${JSON.stringify(import.meta.resolve("../mod.ts"))};
const failure = await init({ backend: "webgpu" }).catch((error) => error.constructor.name + ": " + error.message);
const { name } = await init();
await Deno.stdout.write(new TextEncoder().encode(JSON.stringify([failure, name])));
`;

Deno.test("without an adapter, init says what to install and that tfjs is there; auto takes tfjs", async () => {
  // A process whose WebGPU looks for adapters where there are none: drivers nowhere, and another system's interface.
  const nowhere = "/nonexistent";
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-read",
      `--config=${new URL("../deno.json", import.meta.url).pathname}`,
      "-",
    ],
    env: {
      DENO_WEBGPU_BACKEND: Deno.build.os === "windows" ? "metal" : "dx12",
      VK_DRIVER_FILES: nowhere,
      VK_ICD_FILENAMES: nowhere,
      NO_COLOR: "1",
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(ADAPTERLESS));
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  assertEquals(code, 0, new TextDecoder().decode(stderr));
  assertEquals(JSON.parse(new TextDecoder().decode(stdout)), [
    'Error: Cannot init backend "webgpu": no WebGPU adapter answers. Install a Vulkan driver (without a GPU: ' +
    'Debian\'s mesa-vulkan-drivers), or use init({ backend: "tfjs" }), which runs on the CPU',
    "tfjs",
  ]);
});
