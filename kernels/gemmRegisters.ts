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
import type { Gemm, GemmBody, Operand } from "./gemm.ts";
import { range, unroll } from "./kernel.ts";

/** What an invocation computes. */
export interface RegisterPlan {
  readonly mapping: "registers";
  readonly rows: number;
  readonly columns: number;
  readonly workgroupSize: number;
  /** A by subgroupBroadcast; subgroups must have 8 invocations, and workgroups a multiple of 8. */
  readonly broadcast: boolean;
}

const LANES = 8;

/** The body of the kernel; operands and epilogue must be 1 wide. */
export function gemmRegisters(product: Gemm, plan: RegisterPlan): GemmBody {
  const { rows, columns, workgroupSize: T, broadcast } = plan;
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
  return {
    workgroupSize: T,
    workgroupBytes: 0,
    subgroups: broadcast,
    declarations: "",
    code: `${broadcast ? `let lane = subgroupLane & ${LANES - 1}u;` : ""}
${
      unroll(columns, (q) =>
        `let column${q} = min(firstColumn + t + ${q * T}u, ${product.columns} - 1u); ${
          b.setup(`b${q}`, `column${q}`)
        }`)
    }
${unroll(loads, (i) => `let row${i} = ${rowOf(i)}; ${a.setup(`a${i}`, `row${i}`)}`)}
${unroll(rows, (i) => unroll(columns, (q) => `var c${i}_${q} = 0.0;`, " "))}
${product.rowSums ? unroll(rows, (i) => `var sum${i} = 0.0;`, " ") : ""}
for (var k = first; k < end; k++) {
${unroll(columns, (q) => `let v${q} = ${fetched(b, `b${q}`)};`)}
${unroll(loads, (i) => `let e${i} = ${fetched(a, `a${i}`)};`)}
${
      unroll(rows, (i) =>
        `{ let u = ${broadcast ? `subgroupBroadcast(e${Math.floor(i / LANES)}, ${i % LANES}u)` : `e${i}`}; ${
          unroll(columns, (q) =>
            `c${i}_${q} = fma(u, v${q}, c${i}_${q});`, " ")
        } ${product.rowSums ? `sum${i} += u;` : ""} }`)
    }
}
${unroll(columns, (q) => epilogue.columns(`Column${q}`, `column${q}`))}
${storeRotating(product, plan)}
${product.rowSums ? `if (firstColumn + t == 0u) { ${unroll(rows, rowSum)} }` : ""}`,
  };
}

/**
 * Hands the results to the epilogue, 4 rows at a time in a loop: the sums move up as it turns, since registers have no
 * index. Straight-line stores took seconds to compile: 32 x 8 of them 3.5 s, now under 1; the moves are a few percent of the time.
 */
function storeRotating(
  { epilogue, rows: rowEnd, columns: columnEnd }: Gemm,
  { rows, columns, workgroupSize: T }: RegisterPlan,
): string {
  const turn = Math.min(4, rows);
  const stores = (i: number): string =>
    `{ let row = firstRow + turn + ${i}u; if (row < ${rowEnd}${
      rows % turn ? ` && turn + ${i}u < ${rows}u` : ""
    }) {
${epilogue.rows("Row", "row")}
${
      unroll(columns, (q) =>
        `if (firstColumn + t + ${q * T}u < ${columnEnd}) { ${
          epilogue.store(`c${i}_${q}`, "Row", `Column${q}`)
        } }`)
    }
} }`;
  const move = range(rows - turn).map((i) => unroll(columns, (q) => `c${i}_${q} = c${i + turn}_${q};`, " "));
  return `for (var turn = 0u; turn < ${rows}u; turn += ${turn}u) {
${unroll(turn, stores)}
${move.join("\n")}
}`;
}
