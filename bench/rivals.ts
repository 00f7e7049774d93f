/**
 * What TensorFlow.js itself needs for the convolution alone: stock `tf.depthwiseConv2d`, on its wasm engine and on its
 * WebGPU engine. Its dense kernel and its channels-last input are ready before anything is timed.
 * @module
 */
import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-wasm";
import { startEngine } from "../src/tfjs/engine.ts";
import { type BenchCase, outputExtents } from "./cases.ts";
import type { Contender } from "./measure.ts";
import type { CaseData } from "./subject.ts";

/** tfjs's engines that are rivals here. */
export type RivalEngine = "wasm" | "webgpu";

/** Stock tfjs, ready to run one case. */
export interface Rival extends Contender {
  /** As in the tables. */
  readonly name: string;
  /** The output of one call, `[N, C, H, W]` as everywhere else; without a bias. */
  output(): Promise<Float32Array>;
  dispose(): void;
}

let wasmRuns = false;

/**
 * Makes an engine tfjs's current one: rivals, and this module's backend on tfjs, take turns.
 * @throws {Error} where it does not start
 */
export async function useEngine(engine: string): Promise<void> {
  if (tf.getBackend() === engine) return;
  if (engine === "wasm" && !wasmRuns) {
    await startEngine("wasm");
    wasmRuns = true;
    return;
  }
  if (engine === "webgpu") await import("@tensorflow/tfjs-backend-webgpu");
  if (!await tf.setBackend(engine) || tf.getBackend() !== engine) {
    throw new Error(`its ${engine} engine does not start`);
  }
}

/** Whether tfjs has one function for the case's convolution: `depthwiseConv2d` with "same" padding. */
export function hasRival({ axes, groups, inChannels, outChannels, size, padding }: BenchCase): boolean {
  return axes === 2 && groups === inChannels && groups === outChannels && padding === (size - 1) / 2;
}

/**
 * Stock tfjs for a depthwise case.
 * @throws {Error} where the engine does not start
 */
export async function createRival(
  engine: RivalEngine,
  benched: BenchCase,
  data: CaseData,
): Promise<Rival> {
  await useEngine(engine);
  const { inChannels: C, size } = benched, { batch } = data;
  const [H, W] = outputExtents(benched);
  const [x, kernel] = tf.tidy(() => [
    tf.transpose(tf.tensor4d(data.x.slice(), [batch, C, H, W]), [0, 2, 3, 1]),
    tf.transpose(tf.tensor4d(data.kernel.slice(), [C, 1, size, size]), [2, 3, 0, 1]),
  ]);
  const call = (): tf.Tensor4D => tf.depthwiseConv2d(x as tf.Tensor4D, kernel as tf.Tensor4D, 1, "same");
  let last: tf.Tensor4D | null = null;
  return {
    name: `stock tfjs, ${engine}`,
    run: () => {
      last?.dispose();
      last = call();
    },
    // wasm has run when the call returns. WebGPU is waited for by an element of the last output: anything that does not
    // depend on it tfjs would compute on the CPU, without waiting.
    wait: engine === "wasm" ? null : async () => {
      if (!last) return;
      const element = tf.slice(last, [0, 0, 0, 0], [1, 1, 1, 1]);
      await element.data();
      element.dispose();
    },
    timer: null,
    before: () => useEngine(engine),
    output: async () => {
      await useEngine(engine);
      const turned = tf.tidy(() => tf.transpose(call(), [0, 3, 1, 2]));
      const values = (await turned.data<"float32">()).slice();
      turned.dispose();
      return values;
    },
    dispose: () => {
      for (const each of [x, kernel, last]) each?.dispose();
    },
  };
}
