/** Tiles: what each needs of an adapter, and the numbers of some on a product that divides into them nowhere. */
import { gemm } from "../kernels/gemm.ts";
import { matrixOperand } from "../kernels/gemmOperands.ts";
import { SMALL_TILE, type TilePlan, TILES } from "../kernels/gemmTile.ts";
import { arrayOf, type Kernel } from "../kernels/kernel.ts";
import { Gpu } from "../src/webgpu/gpu.ts";
import { dispatchGemm } from "../src/webgpu/ops/gemm.ts";
import { FOUND_DEVICE, webgpuTest } from "./adapter.ts";
import { assert, assertClose } from "./assert.ts";
import { TOLERANCE, uniform } from "./webgpu_compare.ts";

const ALL: readonly TilePlan[] = [...TILES, SMALL_TILE];

/** c = a b + 1 of plain matrices `[rows, depth]`, `[columns, depth]`. */
function product(plan: TilePlan): Kernel {
  const [rows, columns, depth] = ["parameters.rows", "parameters.columns", "parameters.depth"];
  return gemm({
    label: `tile ${plan.rows}x${plan.columns}`,
    bindings: [["a", arrayOf("f32"), "read"], ["b", arrayOf("f32"), "read"], [
      "c",
      arrayOf("f32"),
      "read_write",
    ]],
    parameters: { rows: "u32", columns: "u32", depth: "u32" },
    rows,
    columns,
    depth: { first: "0u", end: depth },
    edges: { rows: true, depth: true },
    a: matrixOperand({ buffer: "a", width: 1 }, { rows, depth, transposed: false }),
    b: matrixOperand({ buffer: "b", width: 1 }, { rows: columns, depth, transposed: false }),
    epilogue: {
      width: 1,
      columns: (slot, column) => `let ${slot}At = ${column};`,
      rows: (slot, row) => `let ${slot}At = ${row} * ${columns};`,
      store: (value, row, column) => `c[${row}At + ${column}At] = ${value} + 1.0;`,
    },
  }, plan);
}

Deno.test("gemm: every tile fits the smallest adapters", () => {
  for (const plan of ALL) {
    const { workgroupBytes, workgroupSize } = product(plan);
    assert(
      workgroupBytes <= 16384 && workgroupSize <= 256,
      `${JSON.stringify(plan)}: ${workgroupBytes} bytes`,
    );
    assert(plan.rows % plan.rowsEach === 0 && plan.columns % plan.columnsEach === 0);
  }
});

/** Shorter steps: whole ones take a software adapter 8 s to compile, each. */
const RUN: readonly TilePlan[] = [...[TILES[1], TILES[4]].map((plan) => ({ ...plan, depth: 4 })), SMALL_TILE];

webgpuTest("gemm: large and flat tiles compute the same", async () => {
  const gpu = new Gpu(FOUND_DEVICE!.device, FOUND_DEVICE!.info);
  const rows = 101, columns = 259, depth = 53;
  const [a, b] = [uniform([rows, depth]), uniform([columns, depth])];
  const expected = Float64Array.from({ length: rows * columns }, (_, at) => {
    const [m, j] = [Math.floor(at / columns), at % columns];
    let sum = 1;
    for (let k = 0; k < depth; k++) sum += a.data[m * depth + k] * b.data[j * depth + k];
    return sum;
  });
  const [A, B] = [a, b].map(({ data }) => gpu.upload(data, "operand"));
  for (const plan of RUN) {
    const c = gpu.upload(new Float32Array(rows * columns).fill(NaN), "product");
    dispatchGemm(gpu, product(plan), plan, [A, B, c], { rows, columns }, [rows, columns, depth]);
    const [actual] = await gpu.read([c]);
    assertClose(`tile ${plan.rows}x${plan.columns}`, actual, expected, TOLERANCE);
    gpu.buffers.release(c);
  }
});
