/**
 * What a generator returns, and the snippets that many of them share.
 *
 * Generators unroll in TypeScript: a loop in WGSL costs a counter and serialises the loads in its body. Shapes are
 * constants of the code where they decide about unrolling or index arithmetic, and parameters (a uniform struct of
 * 32-bit words) where one pipeline can serve many, the batch above all.
 */

/** A compute kernel: entry point `main`, bindings in group 0 in the order listed. */
export interface Kernel {
  /** Shown by debuggers and in error messages. */
  readonly label: string;
  readonly code: string;
  readonly workgroupSize: number;
  /** Workgroup memory, to be compared with the adapter's limit before the pipeline is made. */
  readonly workgroupBytes: number;
}

/** `[0, 1, ..., n - 1]` */
export function range(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i);
}

/** One statement or expression for each of 0..n-1, joined. */
export function unroll(n: number, line: (i: number) => string, between = "\n"): string {
  return range(n).map(line).join(between);
}

/** A number as a WGSL float literal. */
export function float(x: number): string {
  if (!Number.isFinite(x)) throw new RangeError(`Cannot write ${x} as a WGSL literal: it must be finite`);
  const text = Math.fround(x).toString();
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** Storage bindings in order; each entry is [name, WGSL type, access]. */
export function bindings(...list: [name: string, type: string, access: "read" | "read_write"][]): string {
  return list.map(([name, type, access], i) =>
    `@group(0) @binding(${i}) var<storage, ${access}> ${name}: ${type};`
  ).join("\n");
}

/**
 * How a kernel keeps a tensor's elements in memory; arithmetic is float32 either way. Generators read and write elements
 * through the three functions below wherever a tensor may be float16; `enable f16;` is put before the code of kernels that need it.
 */
export type Storage = "f32" | "f16";

/** The WGSL type of such a buffer. */
export function arrayOf(storage: Storage): string {
  return `array<${storage}>`;
}

/** Element `index` of a buffer, as f32. */
export function load(storage: Storage, buffer: string, index: string): string {
  return storage === "f32" ? `${buffer}[${index}]` : `f32(${buffer}[${index}])`;
}

/** Writes an f32 value as element `index` of a buffer. */
export function store(storage: Storage, buffer: string, index: string, value: string): string {
  return `${buffer}[${index}] = ${storage === "f32" ? value : `f16(${value})`};`;
}

/** The parameter struct, bound after `count` storage buffers. */
export function parameters(count: number, fields: Readonly<Record<string, "u32" | "f32" | "i32">>): string {
  const body = Object.entries(fields).map(([name, type]) => `${name}: ${type}`).join(", ");
  return `struct Parameters { ${body} }\n@group(0) @binding(${count}) var<uniform> parameters: Parameters;`;
}

/** The entry point's head. `g` workgroup, `groups` their number, `t` invocation within the workgroup. */
export function main(workgroupSize: number): string {
  return `@compute @workgroup_size(${workgroupSize})
fn main(@builtin(workgroup_id) g: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) t: u32)`;
}

/** Declares `id`, the invocation's number when workgroups are spread over x and y (see `flatGroups`). */
export function flatId(workgroupSize: number): string {
  return `let id = (g.y * groups.x + g.x) * ${workgroupSize}u + t;`;
}

/**
 * A tree reduction of `partial: array<f32, size>` in workgroup memory into `partial[0]`; every invocation must reach it.
 * `size` is a power of two.
 */
export function treeSum(name: string, size: number): string {
  let code = "workgroupBarrier();\n";
  for (let half = size / 2; half >= 1; half /= 2) {
    code += `if (t < ${half}u) { ${name}[t] += ${name}[t + ${half}u]; }\nworkgroupBarrier();\n`;
  }
  return code;
}

/** WGSL `isNaN(x)`: by bits, because compilers may fold x != x away. */
export const IS_NAN = `fn isNaN(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }`;
