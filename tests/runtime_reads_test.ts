/** Quick reads: right values under load, errors in their place, and nothing kept. */
import { init, memory, shutdown } from "../src/backend.ts";
import { randn, tensor } from "../src/create.ts";
import { tidy } from "../src/scope.ts";
import { readAll, type Tensor } from "../src/tensor.ts";
import { describe, findDevice } from "../src/webgpu/device.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { whole } from "../src/webgpu/buffers.ts";
import { webgpuTest } from "./adapter.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { watchDevice } from "./support/watched_device.ts";

/** Until the promises of all quick reads have settled: the sanitizers count them. */
const settle = (): Promise<void> => new Promise((done) => setTimeout(done, 40));

webgpuTest("quick reads: right under load, several at once, of every size", async () => {
  const { device, seen } = watchDevice((await findDevice())!.device);
  shutdown();
  await init({ device, quickReads: true });
  const big = randn([4, 64, 56, 56], { seed: 1 }), { buffers } = memory();
  let count: Tensor = tensor([0, 0, 0, 0], [4]);
  const times: number[] = [];
  for (let i = 1; i <= 400; i++) {
    const next = count.add(1);
    count.dispose();
    count = next;
    if (i % 100 === 0) big.gelu().dispose(); // takes longer than the reads
    const size = 1 + 700 * (i % 8);
    const extra = tidy(() => tensor(new Float32Array(size).fill(i), [size]).mul(2));
    const started = performance.now();
    const [a, b] = await readAll([count, extra]);
    times.push(performance.now() - started);
    extra.dispose();
    assertEquals([...a], [i, i, i, i]);
    assert(b.length === size && b.every((value) => value === 2 * i), `read ${i}`);
    if (i % 50 === 0) {
      const triple = count.mul(3);
      const [x, y] = await Promise.all([count.data(), triple.data()]);
      assertEquals([x[1], y[2]], [i, 3 * i]);
      triple.dispose();
    }
  }
  await settle();
  assertEquals(memory().buffers, buffers + 1);
  assert(seen.buffers < 120, `${seen.buffers} buffers`);
  const fast = times.filter((time) => time < 9).length;
  assert(fast > 200, `only ${fast} of 400 reads took less than the 10 ms of an awaited one`);
  shutdown();
});

webgpuTest("quick reads: init switches them on and off; off they leave nothing pending", async () => {
  shutdown();
  await init({ backend: "webgpu", quickReads: true });
  const x = tensor([1, 2], [2]);
  for (let i = 0; i < 5; i++) assertEquals([...await x.data()], [1, 2]);
  await settle();
  await init({ backend: "webgpu", quickReads: false });
  const started = performance.now();
  assertEquals([...await x.data()], [1, 2]);
  assert(performance.now() - started > 5); // the sanitizers see the rest
  await init({ quickReads: true });
  const empty = tensor([], [0, 2]);
  assertEquals([(await empty.data()).length, ...await x.data()], [0, 1, 2]);
  await settle();
  shutdown();
});

webgpuTest("quick reads: a device may be ended while they settle", async () => {
  for (let round = 0; round < 6; round++) {
    shutdown();
    await init({ backend: "webgpu", quickReads: true });
    const x = tensor([1, 2], [2]);
    for (let i = 0; i < 3; i++) assertEquals([...await x.data()], [1, 2]);
    const last = x.data();
    if (round % 2 === 0) await last;
    shutdown();
    assertEquals([...await last], [1, 2]);
    await settle();
  }
});

webgpuTest("quick reads: what goes wrong on the device is thrown by a read", async () => {
  const found = await findDevice();
  const gpu = new Gpu(found!.device, describe(found!.device));
  gpu.quickReads = true;
  const buffer = gpu.upload(Float32Array.of(1, 2, 3), "x");
  for (let i = 0; i < 3; i++) assertEquals([...(await gpu.read([buffer]))[0]], [1, 2, 3]);
  const kernel = {
    label: "reads and writes one buffer",
    workgroupSize: 1,
    workgroupBytes: 0,
    code: `@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> b: array<f32>;
@compute @workgroup_size(1) fn main() { b[0] = a[1]; }`,
  };
  gpu.dispatch(kernel, [whole(buffer), whole(buffer)], [1, 1, 1]);
  await assertRejects(
    async () => {
      await gpu.read([buffer]);
      await settle();
      await gpu.read([buffer]);
    },
    Error,
    "WebGPU: ",
  );
  assertEquals([...(await gpu.read([buffer]))[0]], [1, 2, 3]);
  await settle();
  gpu.dispose();
});
