/** Checkpoints: the same gradients, to the last bit, from less memory. */
import { memory } from "../src/backend.ts";
import { checkpoint } from "../src/checkpoint.ts";
import { randn } from "../src/create.ts";
import { Dcls2d, LayerNorm, type Module, Pointwise } from "../src/nn/mod.ts";
import { tidy } from "../src/scope.ts";
import { noGrad } from "../src/tape.ts";
import { readAll, type Tensor } from "../src/tensor.ts";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { testBackends } from "./backends.ts";

type Runner = (body: (x: Tensor) => Tensor, x: Tensor) => Tensor;
const plain: Runner = (body, x) => body(x);
const again: Runner = (body, x) => checkpoint(body, x);

/** Four blocks whose depthwise layers share positions. */
class Chain {
  readonly layers: Module[] = [];
  constructor() {
    let first: Dcls2d | null = null;
    for (let i = 0; i < 4; i++) {
      const layer: Dcls2d = new Dcls2d(4, 4, {
        ...{ kernelCount: 3, dilatedKernelSize: 5, padding: 2, groups: 4, seed: i },
        ...(first ? { P: first.P } : {}),
      });
      first ??= layer;
      this.layers.push(layer, new LayerNorm(4), new Pointwise(4, 4, { seed: i }));
    }
  }
  forward(x: Tensor, run: Runner): Tensor {
    for (let i = 0; i < 12; i += 3) {
      const [a, b, c] = this.layers.slice(i, i + 3);
      x = run((x) => c.forward(b.forward(a.forward(x)).gelu()).add(x), x);
    }
    return x;
  }
  get parameters(): Tensor[] {
    return [...new Set(this.layers.flatMap((layer) => layer.parameters()))];
  }
  /** Gradients of the input, where it wants one, and of all parameters. */
  async gradients(x: Tensor, run: Runner): Promise<Float32Array[]> {
    tidy(() => this.forward(x, run).square().sum().backward());
    const leaves = [...(x.requiresGrad ? [x] : []), ...this.parameters];
    const values = await readAll(leaves.map(({ grad }) => grad!));
    for (const leaf of leaves) leaf.zeroGrad();
    return values;
  }
  dispose(): void {
    for (const layer of this.layers) layer.dispose();
  }
}

testBackends("checkpoint: the same gradients, of inputs and parameters, shared ones included", async () => {
  const before = memory().buffers;
  const chain = new Chain();
  for (const requiresGrad of [true, false]) {
    const x = randn([2, 4, 6, 7], { seed: 1, requiresGrad });
    const held = memory().buffers;
    const expected = await chain.gradients(x, plain);
    assertEquals(await chain.gradients(x, again), expected);
    // A checkpoint of checkpoints.
    const nested: Runner = (body, x) => checkpoint((x) => checkpoint(body, x), x);
    assertEquals(await chain.gradients(x, nested), expected);
    assertEquals(memory().buffers, held);
    const [a, b] = [plain, again].map((run) => noGrad(() => tidy(() => chain.forward(x, run))));
    assertEquals(await a.data(), await b.data());
    for (const each of [x, a, b]) each.dispose();
  }
  chain.dispose();
  assertEquals(memory().buffers, before);
});

testBackends("checkpoint: keeps only the inputs until backward", () => {
  const chain = new Chain(), x = randn([2, 4, 6, 7], { seed: 1, requiresGrad: true });
  const bytes = [plain, again].map((run) =>
    tidy(() => {
      const before = memory().bytes;
      chain.forward(x, run);
      return memory().bytes - before;
    })
  );
  assert(bytes[1] * 5 < bytes[0], `${bytes[1]} bytes with checkpoints, ${bytes[0]} without`);
  const image = memory().bytes;
  const y = randn(x.shape);
  assertEquals(bytes[1], 4 * (memory().bytes - image), "the output of each of the four");
  for (const each of [x, y, chain]) each.dispose();
});

testBackends(
  "checkpoint: several inputs, some without a gradient; a body that returns its input",
  async () => {
    const [a, b, c] = [1, 2, 3].map((seed) => randn([5], { seed, requiresGrad: seed < 3 }));
    const run = async (checkpointed: boolean): Promise<Float32Array[]> => {
      const body = (a: Tensor, b: Tensor, c: Tensor): Tensor => a.mul(b).add(c).mul(a);
      tidy(() => {
        const y = checkpointed ? checkpoint(body, a, b, c) : body(a, b, c);
        (checkpointed ? checkpoint((y) => y, y) : y).square().sum().backward();
      });
      const values = await readAll([a.grad!, b.grad!]);
      a.zeroGrad();
      b.zeroGrad();
      return values;
    };
    assertEquals(await run(true), await run(false));
    assertEquals(c.grad, null);
    for (const each of [a, b, c]) each.dispose();
  },
);

testBackends("checkpoint: an error in the second run leaves nothing behind", () => {
  const x = randn([5], { seed: 1, requiresGrad: true });
  const { buffers } = memory();
  let runs = 0;
  assertThrows(
    () =>
      tidy(() => {
        const y = checkpoint((x) => {
          const z = x.gelu();
          if (++runs === 2) throw new RangeError("no more");
          return z;
        }, x);
        y.square().sum().backward();
      }),
    RangeError,
    "no more",
  );
  assertEquals(memory().buffers, buffers);
  assertEquals(x.grad, null);
  x.dispose();
});
