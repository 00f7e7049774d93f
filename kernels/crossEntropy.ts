/**
 * crossEntropy of one row: with L the largest logit, Z = sum over m of exp(logit[m] - L), and e = labelSmoothing,
 *   loss = log Z - (1 - e) (logit[label] - L) - e / M * sum over m of (logit[m] - L)       (the targets sum to 1)
 *   dlogit[m] = dy / N (exp(logit[m] - L) / Z - (1 - e) [m = label] - e / M)
 * A label that is no class makes its row NaN: it must not pass for one. Without smoothing a logit of -Infinity is fine.
 *
 * `crossEntropy`: logits [N, M], labels [N], losses [N], divided by N (their sum is the `sum` kernel's work).
 * `crossEntropyBackward`: logits, labels, dy [1], dlogits [N, M].
 * logits and dlogits are float32 or float16 (`storage`).
 * parameters { rows, labelSmoothing, inverseBatch, invalid: the bits of a NaN }. M is a constant of the code.
 * One invocation a row while its logits fit the registers, so that each is read once; one workgroup a row beyond.
 */
import {
  arrayOf,
  bindings,
  flatId,
  float,
  type Kernel,
  load,
  main,
  parameters,
  range,
  type Storage,
  store,
  unroll,
} from "./kernel.ts";

const SIZE = 64;
/** Most classes that one invocation keeps in registers. */
const CLASSES = 64;

/** Rows that one workgroup takes. */
export function crossEntropyRows(M: number): number {
  return M > CLASSES ? 1 : SIZE;
}

/** `combine` of what every invocation has in `lanes`, left in `lanes[0]`. */
function tree(combine: (a: string, b: string) => string): string {
  let code = "workgroupBarrier();\n";
  for (let half = SIZE / 2; half >= 1; half /= 2) {
    code += `if (t < ${half}u) { lanes[t] = ${combine("lanes[t]", `lanes[t + ${half}u]`)}; }\n` +
      "workgroupBarrier();\n";
  }
  return code;
}

const add = (a: string, b: string): string => `${a} + ${b}`;
const max = (a: string, b: string): string => `max(${a}, ${b})`;

/** `row`, its `label` and whether that is `valid`. */
const row = (M: number): string => `
let base = row * ${M}u;
let label = labels[row];
let valid = label >= 0.0 && label < ${float(M)} && floor(label) == label;
let k = u32(select(0.0, label, valid));
let smoothing = parameters.labelSmoothing;`;

/** `largest`, `z` and `deviations`, the sums of exp(logit - largest) and of logit - largest: by one invocation. */
const narrow = (M: number, storage: Storage): string => `
${flatId(SIZE)}
if (id >= parameters.rows) { return; }
let row = id;
${row(M)}
${unroll(M, (m) => `let l${m} = ${load(storage, "logits", `base + ${m}u`)};`)}
let largest = ${range(M).map((m) => `l${m}`).reduce(max)};
${unroll(M, (m) => `let d${m} = l${m} - largest; let e${m} = exp(d${m});`)}
let z = ${range(M).map((m) => `e${m}`).join(" + ")};`;

/** The same by a workgroup. Surplus workgroups repeat the last row, up to where it is written. */
const wide = (M: number, storage: Storage, deviations: boolean): string => `
let id = g.y * groups.x + g.x;
let row = min(id, parameters.rows - 1u);
${row(M)}
var own = ${load(storage, "logits", "base")};
for (var m = t; m < ${M}u; m += ${SIZE}u) { own = max(own, ${load(storage, "logits", "base + m")}); }
lanes[t] = own;
${tree(max)}
let largest = lanes[0];
workgroupBarrier();
own = 0.0;
for (var m = t; m < ${M}u; m += ${SIZE}u) { own += exp(${load(storage, "logits", "base + m")} - largest); }
lanes[t] = own;
${tree(add)}
let z = lanes[0];
${
  deviations
    ? `workgroupBarrier();
own = 0.0;
for (var m = t; m < ${M}u; m += ${SIZE}u) { own += ${load(storage, "logits", "base + m")} - largest; }
lanes[t] = own;
${tree(add)}
let deviations = lanes[0];`
    : ""
}`;

function make(
  label: string,
  M: number,
  storage: Storage,
  buffers: [string, "read" | "read_write"][],
  body: string,
): Kernel {
  const isWide = crossEntropyRows(M) === 1;
  const list = buffers.map(([name, access]) =>
    [name, arrayOf(/logits$/.test(name) ? storage : "f32"), access] as [string, string, typeof access]
  );
  return {
    label: `${label} ${M}`,
    workgroupSize: SIZE,
    workgroupBytes: isWide ? 4 * SIZE : 0,
    code: `${bindings(...list)}
${
      parameters(list.length, {
        rows: "u32",
        labelSmoothing: "f32",
        inverseBatch: "f32",
        invalid: "u32",
      })
    }
${isWide ? `var<workgroup> lanes: array<f32, ${SIZE}>;` : ""}
${main(SIZE)} {
${body}
}`,
  };
}

/** The losses of the rows. */
export function crossEntropy(M: number, storage: Storage = "f32"): Kernel {
  const loss = `let loss = log(z) - (1.0 - smoothing) * (${load(storage, "logits", "base + k")} - largest) -
select(0.0, smoothing * ${float(1 / M)} * deviations, smoothing > 0.0);
losses[row] = select(bitcast<f32>(parameters.invalid), loss * parameters.inverseBatch, valid);`;
  const body = crossEntropyRows(M) === 1
    ? `${wide(M, storage, true)}\nif (t == 0u && id < parameters.rows) {\n${loss}\n}`
    : `${narrow(M, storage)}\nlet deviations = ${range(M).map((m) => `d${m}`).join(" + ")};\n${loss}`;
  return make(
    "crossEntropy",
    M,
    storage,
    [["logits", "read"], ["labels", "read"], ["losses", "read_write"]],
    body,
  );
}

/** dlogits. */
export function crossEntropyBackward(M: number, storage: Storage = "f32"): Kernel {
  const scale = `let scale = select(bitcast<f32>(parameters.invalid), dy[0] * parameters.inverseBatch, valid);
let everywhere = smoothing * ${float(1 / M)};`;
  const write = (m: string, exp: string): string =>
    store(
      storage,
      "dlogits",
      `base + ${m}`,
      `scale * (${exp} / z - select(0.0, 1.0 - smoothing, k == ${m}) - everywhere)`,
    );
  const body = crossEntropyRows(M) === 1
    ? `${wide(M, storage, false)}
${scale}
if (id < parameters.rows) {
for (var m = t; m < ${M}u; m += ${SIZE}u) { ${
      write("m", `exp(${load(storage, "logits", "base + m")} - largest)`)
    } }
}`
    : `${narrow(M, storage)}\n${scale}\n${unroll(M, (m) => write(`${m}u`, `e${m}`))}`;
  return make(
    "crossEntropyBackward",
    M,
    storage,
    [["logits", "read"], ["labels", "read"], ["dy", "read"], ["dlogits", "read_write"]],
    body,
  );
}
