/**
 * Gradients of constructKernel to weight, P and SIG, in one dispatch.
 *
 * With F = prod of f_a, A = sum over cells of G F, B_a = sum of G dF/dp_a, Z = prod of the axes' sums z_a, n = Z + 1e-7:
 *   dweight = A / n,  dP_a = weight (B_a / n - A / n^2 dZ/dp_a),  dZ/dp_a = z'_a prod over b != a of z_b,
 * and likewise for the spread, times sign(SIG). Where the version is not normalised n = 1 and dZ = 0.
 *
 * One workgroup a row, one invocation an element. The sums are taken axis by axis: along the last axis u = sum G f and
 * v = sum G f', then outer products: 2 multiply-adds a cell (3 with a spread) instead of one per gradient and cell.
 *
 * Bindings: dkernel [rows, cells], weight, P, SIG?, dweight, dP, dSIG?, parameters { rows }.
 */
import { EPSILON, INTERPOLATION } from "../src/interpolation.ts";
import { chunkOf, type ConstructionPlan, fillTables, tableOffset } from "./constructKernel.ts";
import { bindings, float, IS_NAN, type Kernel, main, parameters, range } from "./kernel.ts";

const SIZE = 64;

/** One sum over the cells: which table each axis reads. */
interface CellSum {
  readonly name: string;
  readonly tables: readonly ("f" | "p" | "s")[];
}

/** The gradients of one row per workgroup. */
export function constructKernelBackward(plan: ConstructionPlan): Kernel {
  const { version, size, kernelCount: K } = plan;
  const { spread, normalised } = INTERPOLATION[version];
  const axes = range(size.length), last = size.length - 1;
  const chunk = chunkOf(plan, spread ? 3 : 2);
  const values = tableOffset(size, size.length, chunk);
  const tables = { f: "factors", p: "byPosition", s: "bySpread" } as const;
  const kinds = spread ? ["p", "s"] as const : ["p"] as const;
  const total: CellSum[] = [
    { name: "A", tables: axes.map(() => "f") },
    ...kinds.flatMap((kind) =>
      axes.map((a): CellSum => ({ name: `B${kind}${a}`, tables: axes.map((b) => b === a ? kind : "f") }))
    ),
  ];
  const entry = (table: "f" | "p" | "s", a: number): string =>
    `${tables[table]}[${tableOffset(size, a, chunk)}u + e * ${size[a]}u + i${a}]`;
  // innermost: u, v (and w) over the last axis; outside: products of the other axes' tables
  const inner = `${(["f", ...kinds] as const).map((kind) => `var u_${kind} = 0.0;`).join(" ")}
for (var i${last} = 0u; i${last} < ${size[last]}u; i${last}++) {
  let G = dkernel[at + i${last}];
  ${(["f", ...kinds] as const).map((kind) => `u_${kind} += G * ${entry(kind, last)};`).join(" ")}
}
${
    total.map((sum) => {
      const outer = axes.slice(0, -1).map((a) => `t_${sum.tables[a]}${a}`);
      return `${sum.name} += ${[...outer, `u_${sum.tables[last]}`].join(" * ")};`;
    }).join("\n")
  }
at += ${size[last]}u;`;
  const cells = axes.slice(0, -1).reduceRight(
    (body, a) =>
      `for (var i${a} = 0u; i${a} < ${size[a]}u; i${a}++) {
${(["f", ...kinds] as const).map((kind) => `let t_${kind}${a} = ${entry(kind, a)};`).join(" ")}
${body}
}`,
    inner,
  );
  const axisSums = axes.map((a) => {
    const names = ["f", ...kinds] as const;
    return `${names.map((kind) => `var z_${kind}${a} = 0.0;`).join(" ")}
for (var i${a} = 0u; i${a} < ${size[a]}u; i${a}++) { ${
      names.map((kind) => `z_${kind}${a} += ${entry(kind, a)};`).join(" ")
    } }`;
  }).join("\n");
  const product = (kind: "p" | "s", of: number): string =>
    axes.map((a) => a === of ? `z_${kind}${a}` : `z_f${a}`).join(" * ");
  const gradient = (kind: "p" | "s", a: number): string =>
    normalised ? `w * inv * (B${kind}${a} - A * inv * ${product(kind, a)})` : `w * B${kind}${a}`;
  const store = axes.map((a) => {
    const at = `(${a}u * parameters.rows + row) * ${K}u + k`;
    const sig = `SIG[${at}]`;

    return `dP[${at}] = ${gradient("p", a)};${
      spread ? ` dSIG[${at}] = select(0.0, ${gradient("s", a)} * sign(${sig}), ${sig} != 0.0);` : ""
    }`;
  }).join("\n");
  const inputs: [string, string, "read"][] = ["dkernel", "weight", "P", ...(spread ? ["SIG"] : [])].map((
    name,
  ) => [
    name,
    "array<f32>",
    "read",
  ]);
  const outputs: [string, string, "read_write"][] = ["dweight", "dP", ...(spread ? ["dSIG"] : [])].map((
    name,
  ) => [
    name,
    "array<f32>",
    "read_write",
  ]);
  const code = `${bindings(...inputs, ...outputs)}
${parameters(inputs.length + outputs.length, { rows: "u32" })}
${IS_NAN}
${
    Object.values(tables).slice(0, spread ? 3 : 2).map((name) =>
      `var<workgroup> ${name}: array<f32, ${values}>;`
    ).join("\n")
  }
${main(SIZE)} {
let row = g.y * groups.x + g.x;
if (row >= parameters.rows) { return; }
for (var k0 = 0u; k0 < ${K}u; k0 += ${chunk}u) {
${fillTables(plan, chunk, SIZE, true)}
workgroupBarrier();
for (var e = t; e < min(${chunk}u, ${K}u - k0); e += ${SIZE}u) {
let k = k0 + e;
${total.map((sum) => `var ${sum.name} = 0.0;`).join(" ")}
var at = row * ${size.reduce((a, b) => a * b, 1)}u;
${cells}
${
    normalised
      ? `${axisSums}\nlet inv = 1.0 / (${axes.map((a) => `z_f${a}`).join(" * ")} + ${float(EPSILON)});`
      : "let inv = 1.0;"
  }
let w = weight[row * ${K}u + k];
dweight[row * ${K}u + k] = A * inv;
${store}
}
workgroupBarrier();
}
}`;
  return {
    label: `constructKernelBackward ${version} ${size.join("x")} K${K}`,
    workgroupSize: SIZE,
    workgroupBytes: 4 * values * (spread ? 3 : 2),
    code,
  };
}
