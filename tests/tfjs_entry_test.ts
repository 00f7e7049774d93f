/** `@dcls/dcls/tfjs`: tensors to TensorFlow.js and back. */
import * as tf from "@tensorflow/tfjs";
import { init, tensor } from "../mod.ts";
import { fromTfjs, toTfjs } from "../src/tfjs/mod.ts";
import { assertEquals, assertRejects } from "./assert.ts";

const DATA = Float32Array.from({ length: 24 }, (_, i) => i - 7.5);

Deno.test("toTfjs and fromTfjs: the same elements under the same axes, and they are copies", async () => {
  const source = DATA.slice();
  const made = await toTfjs({ shape: [2, 3, 4], data: source });
  source.fill(0);
  assertEquals(made.shape, [2, 3, 4]);
  assertEquals(await made.data<"float32">(), DATA);
  const back = await fromTfjs(made);
  assertEquals(back, { shape: [2, 3, 4], data: DATA });
  made.dispose();
});

Deno.test("toTfjs: channels go last, and come back first", async () => {
  for (const shape of [[2, 3, 4], [1, 2, 3, 4], [2, 3, 2, 1, 2]]) {
    const made = await toTfjs({ shape, data: DATA }, { channelsLast: true });
    assertEquals(made.shape, [shape[0], ...shape.slice(2), shape[1]]);
    const [cells, channels] = [shape.slice(2).reduce((a, b) => a * b), shape[1]];
    // Element [n, c, i] stands at [n, i, c].
    const expected = DATA.map((_, at) => {
      const [n, rest] = [Math.floor(at / (cells * channels)), at % (cells * channels)];
      return DATA[(n * channels + rest % channels) * cells + Math.floor(rest / channels)];
    });
    assertEquals(await made.data<"float32">(), expected);
    assertEquals(await fromTfjs(made, { channelsLast: true }), { shape, data: DATA });
    made.dispose();
  }
});

Deno.test("toTfjs: a tensor of another backend; integers come back as float32; nothing is left behind", async () => {
  await init({ backend: "reference" });
  await toTfjs({ shape: [1], data: new Float32Array(1) }).then((warm) => warm.dispose());
  const before = tf.memory().numTensors;
  const made = await toTfjs(tensor(DATA, [4, 6]).mul(2));
  assertEquals(await made.data<"float32">(), DATA.map((x) => 2 * x));
  const integers = tf.tensor([1, 2, 3], [3], "int32");
  assertEquals(await fromTfjs(integers), { shape: [3], data: new Float32Array([1, 2, 3]) });
  tf.dispose([made, integers]);
  assertEquals(tf.memory().numTensors, before);
});

Deno.test("toTfjs and fromTfjs: what does not fit", async () => {
  await assertRejects(
    () => toTfjs({ shape: [2, 3], data: DATA }),
    RangeError,
    "Cannot make a tfjs tensor: shape [2, 3] needs 6 elements, got 24",
  );
  await assertRejects(
    () => toTfjs({ shape: [4, 6], data: DATA }, { channelsLast: true }),
    RangeError,
    "Cannot make a tfjs tensor: channelsLast needs the axes N, C and at least one spatial one, got 2 axes",
  );
  const flat = tf.tensor([1, 2]);
  await assertRejects(
    () => fromTfjs(flat, { channelsLast: true }),
    RangeError,
    "Cannot read a tfjs tensor: channelsLast needs",
  );
  flat.dispose();
});
