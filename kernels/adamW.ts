/**
 * adamW: m = beta1 m + (1 - beta1) dp,  v = beta2 v + (1 - beta2) dp²,  p = decay p - rate m / (sqrt(v) scale + epsilon),
 * with decay = 1 - learningRate weightDecay, rate = learningRate / (1 - beta1^step), scale = 1 / sqrt(1 - beta2^step):
 * Loshchilov & Hutter, ICLR 2019, the corrections taken out of the elements.
 * Bindings: p, dp, m, v, parameters. One invocation an element; the bindings' length says how many there are, so that
 * parameters of every size share one struct a step.
 */
import { bindings, flatId, type Kernel, main, parameters } from "./kernel.ts";

const SIZE = 64;

/** One step of every element of one parameter. */
export function adamW(): Kernel {
  return {
    label: "adamW",
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${
      bindings(
        ["p", "array<f32>", "read_write"],
        ["dp", "array<f32>", "read"],
        ["m", "array<f32>", "read_write"],
        ["v", "array<f32>", "read_write"],
      )
    }
${
      parameters(4, {
        beta1: "f32",
        rest1: "f32",
        beta2: "f32",
        rest2: "f32",
        decay: "f32",
        rate: "f32",
        scale: "f32",
        epsilon: "f32",
      })
    }
${main(SIZE)} {
${flatId(SIZE)}
if (id >= arrayLength(&p)) { return; }
let gradient = dp[id];
let first = fma(parameters.beta1, m[id], parameters.rest1 * gradient);
let second = fma(parameters.beta2, v[id], parameters.rest2 * gradient * gradient);
m[id] = first;
v[id] = second;
p[id] = parameters.decay * p[id] - parameters.rate * first / fma(sqrt(second), parameters.scale, parameters.epsilon);
}`,
  };
}
