/**
 * Gradients of constructKernel to weight, P and SIG, in one dispatch.
 *
 * With F = prod of f_a, A = sum over cells of G F, B_a = sum of G dF/dp_a, Z = prod of the axes' sums z_a, n = Z + 1e-7:
 *   dweight = A / n,  dP_a = weight (B_a / n - A / n^2 dZ/dp_a),  dZ/dp_a = z'_a prod over b != a of z_b,
 * and likewise for the spread, times sign(SIG). Where the version is not normalised n = 1 and dZ = 0.
 *
 * One invocation an element, which computes its factors itself. `v0` and `v1` meet two cells per axis, so 2^A loads do.
 * Others run over the row's cells, 8 at a time along the last axis, whose sums u of G f, G f' by p and by s are then multiplied
 * by the other axes' factors; `share`: the 8 lanes of a subgroup have elements of one row, load G together and broadcast it.
 *
 * Software adapter, processor time, ms, against tables of factors in workgroup memory, a row a workgroup: 96 rows of
 * 17x17 / 34 `v0` 0.25 (8.1), `v1` 0.19 (18), `gauss` 0.85 (25); 35,840 rows of 25 / 1 `v0` 1.0 (236), `max` 3.4 (1667).
 *
 * Bindings: dkernel [rows, cells], weight, P, SIG?, dweight, dP, dSIG?, parameters { rows }.
 */
import { EPSILON, INTERPOLATION } from "../src/interpolation.ts";
import type { ConstructionPlan } from "./constructKernel.ts";
import { factorFunctions, positionCode } from "./interpolation.ts";
import { bindings, flatId, float, type Kernel, main, parameters, range, unroll } from "./kernel.ts";

const LANES = 8;

/** Elements of a row, those included that only fill a subgroup: invocations per row. */
export function elementsPerRow({ version, kernelCount: K }: ConstructionPlan, share: boolean): number {
  return share && INTERPOLATION[version].spread ? Math.ceil(K / LANES) * LANES : K;
}

/** WGSL `axisSums(cells, centre, p, s)`: the sums over an axis of f and its derivatives. */
const AXIS_SUMS = `fn axisSums(cells: u32, centre: f32, p: f32, s: f32) -> vec3f {
var sums = vec3f(0.0);
for (var i = 0u; i < cells; i++) { sums += factors(f32(i) - centre, p, s); }
return sums;
}`;

/** What the sums below are named: A, and B by position (p) and spread (s) of each axis. */
const names = (axes: number, spread: boolean): string[] => [
  "A",
  ...range(axes).flatMap((a) => spread ? [`Bp${a}`, `Bs${a}`] : [`Bp${a}`]),
];

/** For every sum, `value` times the product over the axes of the component that it takes of the axis's factors. */
function addProducts(axes: number, spread: boolean, value: string, factor: (a: number) => string): string {
  return names(axes, spread).map((name) => {
    const of = (a: number): string => name.endsWith(`p${a}`) ? "y" : name.endsWith(`s${a}`) ? "z" : "x";
    return `${name} += ${
      [value, ...range(axes).map((a) => `${factor(a)}.${of(a)}`)].filter(Boolean).join(" * ")
    };`;
  }).join(" ");
}

/** The two cells per axis that `v0` and `v1` meet; z_a are their sums. */
function sparseSums({ size, version }: ConstructionPlan, after: (a: number) => number): string {
  const A = size.length;
  const axis = (a: number): string => {
    const half = Math.floor(size[a] / 2);
    const cell = (i: number): string =>
      `let in${a}_${i} = low${a} >= ${-half - i}.0 && low${a} <= ${size[a] - 1 - half - i}.0;
let i${a}_${i} = select(0u, u32(i32(low${a}) + ${half + i}), in${a}_${i}) * ${after(a)}u;
let t${a}_${i} = select(vec3f(select(0.0, p${a}, isNaN(p${a}))), factors(low${a} + ${i}.0, p${a}, s${a}), in${a}_${i});`;
    return `let low${a} = floor(p${a});\n${cell(0)}\n${cell(1)}\nlet z${a} = t${a}_0 + t${a}_1;`;
  };
  const corners = range(2 ** A).map((corner) => {
    const side = (a: number): number => corner >> (A - 1 - a) & 1;
    const at = range(A).map((a) => ` + i${a}_${side(a)}`).join("");
    const inside = range(A).map((a) => `in${a}_${side(a)}`).join(" && ");
    return `{ let G = select(0.0, dkernel[first${at}], ${inside}); ${
      addProducts(A, INTERPOLATION[version].spread, "G", (a) => `t${a}_${side(a)}`)
    } }`;
  });
  return [...range(A).map(axis), ...corners].join("\n");
}

/** All cells, for versions with a spread. */
function denseSums({ size }: ConstructionPlan, share: boolean, after: (a: number) => number): string {
  const A = size.length, last = A - 1, S = size[last];
  const centre = (a: number): string => float(Math.floor(size[a] / 2));
  const cell = (x: string): string => S % LANES === 0 ? x : `min(${x}, ${S - 1}u)`;
  const loads = share
    ? `let lanes = dkernel[at + ${cell("x0 + lane")}];`
    : unroll(LANES, (i) => `let G${i} = dkernel[at + ${cell(`x0 + ${i}u`)}];`, " ");
  const add = unroll(LANES, (i) => {
    const G = share ? `subgroupBroadcast(lanes, ${i}u)` : `G${i}`;
    const counted = S % LANES === 0 ? G : `select(0.0, ${G}, x0 + ${i}u < ${S}u)`;
    return `{ let G = ${counted}; u += G * factors(f32(x0 + ${i}u) - ${centre(last)}, p${last}, s${last}); }`;
  });
  const inner = `var u = vec3f(0.0);
let at = first${range(last).map((a) => ` + i${a} * ${after(a)}u`).join("")};
for (var x0 = 0u; x0 < ${S}u; x0 += ${LANES}u) {
${loads}
${add}
}
${addProducts(A, true, "", (a) => a === last ? "u" : `t${a}`)}`;
  const loops = range(last).reduceRight(
    (body, a) =>
      `for (var i${a} = 0u; i${a} < ${size[a]}u; i${a}++) {
let t${a} = factors(f32(i${a}) - ${centre(a)}, p${a}, s${a});
${body}
}`,
    inner,
  );
  const sums = unroll(A, (a) => `let z${a} = axisSums(${size[a]}u, ${centre(a)}, p${a}, s${a});`);
  return `${sums}\n${loops}`;
}

/**
 * The gradients; dispatch over ceil(rows x elements per row / workgroup size), spread over x and y.
 * @param share G by subgroupBroadcast; subgroups must have 8 invocations, and workgroups a multiple of 8
 */
export function constructKernelBackward(
  plan: ConstructionPlan,
  share: boolean,
  workgroupSize: number,
): Kernel {
  const { version, spreadOffset, size, kernelCount: K } = plan;
  const { spread, normalised } = INTERPOLATION[version], sharing = share && spread;
  const A = size.length, elements = elementsPerRow(plan, share);
  const after = (a: number): number => size.slice(a + 1).reduce((x, y) => x * y, 1);
  const product = (component: "y" | "z", of: number): string =>
    range(A).map((a) => `z${a}.${a === of ? component : "x"}`).join(" * ");
  const gradient = (name: string, component: "y" | "z", a: number): string =>
    normalised ? `w * inverse * (${name} - A * inverse * ${product(component, a)})` : `w * ${name}`;
  const stores = unroll(
    A,
    (a) =>
      `dP[at${a}] = ${gradient(`Bp${a}`, "y", a)};${
        spread
          ? ` { let sig = SIG[at${a}]; dSIG[at${a}] = select(0.0, ${
            gradient(`Bs${a}`, "z", a)
          } * sign(sig), sig != 0.0); }`
          : ""
      }`,
  );
  const of = (list: string[], access: "read" | "read_write"): [string, string, "read" | "read_write"][] =>
    list.map((name) => [name, "array<f32>", access]);
  const bound = [
    ...of(["dkernel", "weight", "P", ...spread ? ["SIG"] : []], "read"),
    ...of(["dweight", "dP", ...spread ? ["dSIG"] : []], "read_write"),
  ];
  const head = main(workgroupSize);
  const code = `${bindings(...bound)}
${parameters(bound.length, { rows: "u32" })}
${factorFunctions(version, true)}
${spread ? AXIS_SUMS : ""}
${sharing ? head.replace(/\)$/, ", @builtin(subgroup_invocation_id) subgroupLane: u32)") : head} {
${flatId(workgroupSize)}
let counts = id % ${elements}u < ${K}u && id / ${elements}u < parameters.rows;
${sharing ? `let lane = subgroupLane & ${LANES - 1}u;` : "if (!counts) { return; }"}
let row = min(id / ${elements}u, parameters.rows - 1u); let k = min(id % ${elements}u, ${K - 1}u);
let element = row * ${K}u + k; let first = row * ${after(-1)}u;
let w = weight[element];
${positionCode(version, spreadOffset, A, (a) => `${a}u * parameters.rows * ${K}u + element`)}
${names(A, spread).map((name) => `var ${name} = 0.0;`).join(" ")}
${spread ? denseSums(plan, sharing, after) : sparseSums(plan, after)}
${
    normalised
      ? `let inverse = 1.0 / (${range(A).map((a) => `z${a}.x`).join(" * ")} + ${float(EPSILON)});`
      : "let inverse = 1.0;"
  }
if (counts) {
dweight[element] = A * inverse;
${stores}
}
}`;
  return {
    label: `constructKernelBackward ${version} ${size.join("x")} K${K}`,
    workgroupSize,
    workgroupBytes: 0,
    code,
  };
}
