/**
 * gemm in registers alone: no workgroup memory, no barrier. For software adapters, where every lane's load or store
 * costs about ten cycles, from workgroup memory too, and arithmetic next to nothing.
 *
 * One invocation computes `rows` results at each of `columns` columns, `workgroupSize` apart so that neighbours read
 * neighbours. The loop over k stays rolled: straight-line loads cost 15 ms of compilation each there.
 * Workgroups of one subgroup are fastest (`gemmPlan` has the figures).
 *
 * `broadcast`: the 8 lanes of a subgroup load 8 elements of A together and broadcast them, in place of every lane loading
 * all of them: one load in place of 8.
 */
import type { Gemm, GemmBody, Operand, Sliding } from "./gemm.ts";
import { range, unroll } from "./kernel.ts";

/** What an invocation computes. */
export interface RegisterPlan {
  readonly mapping: "registers";
  readonly rows: number;
  readonly columns: number;
  readonly workgroupSize: number;
  /** A by subgroupBroadcast; subgroups must have 8 invocations, and workgroups a multiple of 8. */
  readonly broadcast: boolean;
  /** Whether an invocation's columns are neighbours in a line and B slides along it (`Sliding`): loads for 1 column, not for all. */
  readonly slides?: boolean;
}

const LANES = 8;

/** The body of the kernel; operands and epilogue must be 1 wide. */
export function gemmRegisters(product: Gemm, plan: RegisterPlan): GemmBody {
  const { rows, columns, workgroupSize: T, broadcast, slides } = plan;
  const { a, b, epilogue, edges } = product;
  if (a.width * b.width * epilogue.width !== 1) {
    throw new RangeError(`Cannot build ${product.label} in registers: operands and epilogue must be 1 wide`);
  }
  const loads = broadcast ? Math.ceil(rows / LANES) : rows;
  // rows and columns beyond the edge repeat the last; what they add is not stored
  const rowOf = (i: number): string => {
    const row = broadcast ? `firstRow + ${i * LANES}u + lane` : `firstRow + ${i}u`;
    return edges.rows || (broadcast && rows % LANES !== 0) ? `min(${row}, ${product.rows} - 1u)` : row;
  };
  const fetched = ({ value, finish }: Operand, slot: string): string =>
    finish ? finish(slot, `(${value(slot, "k")})`) : value(slot, "k");
  const rowSum = (i: number): string =>
    `{ let row = firstRow + ${i}u; if (row < ${product.rows}) { ${product.rowSums!(`sum${i}`, "row")} } }`;
  const step = `${unroll(loads, (i) => `let e${i} = ${fetched(a, `a${i}`)};`)}
${
    unroll(rows, (i) =>
      `{ let u = ${broadcast ? `subgroupBroadcast(e${Math.floor(i / LANES)}, ${i % LANES}u)` : `e${i}`}; ${
        unroll(columns, (q) =>
          `c${i}_${q} = fma(u, v${q}, c${i}_${q});`, " ")
      } ${product.rowSums ? `sum${i} += u;` : ""} }`)
  }`;
  return {
    workgroupSize: T,
    workgroupBytes: 0,
    subgroups: broadcast,
    declarations: "",
    code: `${broadcast ? `let lane = subgroupLane & ${LANES - 1}u;` : ""}
${slides ? stripColumns(product, plan) : apartColumns(product, plan)}
${unroll(loads, (i) => `let row${i} = ${rowOf(i)}; ${a.setup(`a${i}`, `row${i}`)}`)}
${unroll(rows, (i) => unroll(columns, (q) => `var c${i}_${q} = 0.0;`, " "))}
${product.rowSums ? unroll(rows, (i) => `var sum${i} = 0.0;`, " ") : ""}
${
      slides ? slide(product.sliding!, columns, step) : `for (var k = first; k < end; k++) {
${unroll(columns, (q) => `let v${q} = ${fetched(b, `b${q}`)};`)}
${step}
}`
    }
${unroll(columns, (q) => epilogue.columns(`Column${q}`, `column${q}`))}
${storeRotating(product, plan)}
${product.rowSums ? `if (firstColumn + t == 0u) { ${unroll(rows, rowSum)} }` : ""}`,
  };
}

/** Columns `workgroupSize` apart, each with a setup of B's of its own; beyond the edge they repeat the last. */
function apartColumns({ b, columns: end }: Gemm, { columns, workgroupSize: T }: RegisterPlan): string {
  return unroll(
    columns,
    (q) =>
      `let inside${q} = firstColumn + t + ${q * T}u < ${end}; let column${q} = min(firstColumn + t + ${
        q * T
      }u, ${end} - 1u); ${b.setup(`b${q}`, `column${q}`)}`,
  );
}

/** Neighbours in a strip of a line, of which the first is set up. */
function stripColumns({ b, columns: end, sliding }: Gemm, { columns }: RegisterPlan): string {
  const line = sliding!.line;
  return `let strips = (${line} + ${columns - 1}u) / ${columns}u; let strip = firstColumn / ${columns}u + t;
let lineStart = strip / strips * ${line}; let x0 = strip % strips * ${columns}u;
let begin = min(lineStart + x0, ${end} - 1u);
${b.setup("b0", "begin")}
${
    unroll(columns, (q) =>
      `let inside${q} = lineStart < ${end} && x0 + ${q}u < ${line}; let column${q} = min(begin + ${q}u, ${end} - 1u);`)
  }`;
}

/** The loop over runs of k: the columns' values move on by one with every step, and one is loaded, at an address that the run shares. */
function slide({ run, value }: Sliding, columns: number, step: string): string {
  return `for (var start = first; start < end; start += ${run}u) {
${unroll(columns - 1, (q) => `var v${q} = ${value("b0", "start", `${q}`)};`)}
for (var tap = 0u; tap < ${run}u; tap++) {
let k = start + tap;
let v${columns - 1} = ${value("b0", "start", `${columns - 1} + i32(tap)`)};
${step}
${unroll(columns - 1, (q) => `v${q} = v${q + 1};`, " ")}
}
}`;
}

/**
 * Hands the results to the epilogue, 4 rows at a time in a loop: the sums move up as it turns, since registers have no
 * index. Straight-line stores took seconds to compile: 32 x 8 of them 3.5 s, now under 1; the moves are a few percent of the time.
 */
function storeRotating(
  { epilogue, rows: rowEnd }: Gemm,
  { rows, columns }: RegisterPlan,
): string {
  const turn = Math.min(4, rows);
  const stores = (i: number): string =>
    `{ let row = firstRow + turn + ${i}u; if (row < ${rowEnd}${
      rows % turn ? ` && turn + ${i}u < ${rows}u` : ""
    }) {
${epilogue.rows("Row", "row")}
${unroll(columns, (q) => `if (inside${q}) { ${epilogue.store(`c${i}_${q}`, "Row", `Column${q}`)} }`)}
} }`;
  const move = range(rows - turn).map((i) => unroll(columns, (q) => `c${i}_${q} = c${i + turn}_${q};`, " "));
  return `for (var turn = 0u; turn < ${rows}u; turn += ${turn}u) {
${unroll(turn, stores)}
${move.join("\n")}
}`;
}
