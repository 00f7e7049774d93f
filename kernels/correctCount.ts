/**
 * correctCount: hits[n] = 1 where the first largest entry of row n is at its label, else 0; a row with a NaN, or with a
 * label that is no class, is never counted. Their sum is the `sum` kernel's work.
 * Bindings: logits [N, M] (float32 or float16), labels [N], hits [N], parameters { rows }. M is a constant of the code.
 * One invocation a row: an evaluation's few thousand rows are read once, without a barrier.
 */
import {
  arrayOf,
  bindings,
  flatId,
  float,
  IS_NAN,
  type Kernel,
  load,
  main,
  parameters,
  type Storage,
  unroll,
} from "./kernel.ts";

const SIZE = 64;
/** Most classes for which the row is unrolled. */
const CLASSES = 64;

/** 1 for the rows that are right. */
export function correctCount(M: number, storage: Storage = "f32"): Kernel {
  const compare = (m: string): string =>
    `{ let l = ${
      load(storage, "logits", `base + ${m}`)
    }; right = right && !isNaN(l) && select(chosen >= l, chosen > l, ${m} < k); }`;
  const row = M <= CLASSES
    ? unroll(M, (m) => compare(`${m}u`))
    : `for (var m = 0u; m < ${M}u; m++) { ${compare("m")} }`;
  return {
    label: `correctCount ${M}`,
    workgroupSize: SIZE,
    workgroupBytes: 0,
    code: `${
      bindings(["logits", arrayOf(storage), "read"], ["labels", "array<f32>", "read"], [
        "hits",
        "array<f32>",
        "read_write",
      ])
    }
${parameters(3, { rows: "u32" })}
${IS_NAN}
${main(SIZE)} {
${flatId(SIZE)}
if (id >= parameters.rows) { return; }
let base = id * ${M}u;
let label = labels[id];
var right = label >= 0.0 && label < ${float(M)} && floor(label) == label;
let k = u32(select(0.0, label, right));
let chosen = ${load(storage, "logits", "base + k")};
${row}
hits[id] = select(0.0, 1.0, right);
}`,
  };
}
