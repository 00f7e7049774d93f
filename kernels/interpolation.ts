/**
 * The version table of `src/interpolation.ts` in WGSL: along one axis, what an element at position p with spread s
 * gives to cell i, and the derivatives of that. `cell` is i - c, so that d = cell - p keeps ties exact; `v0` goes by floor
 * and remainder instead, so that its one-sided derivative survives rounding.
 */
import { INTERPOLATION } from "../src/interpolation.ts";
import type { Version } from "../src/spec.ts";
import { float, IS_NAN } from "./kernel.ts";

const FACTOR: Readonly<Record<Version, { readonly value: string; readonly derivatives: string }>> = {
  v0: {
    value: `let low = floor(p); let r = p - low; let j = cell - low;
let f = select(select(0.0, r, j == 1.0), 1.0 - r, j == 0.0);`,
    derivatives: "let fp = select(select(0.0, 1.0, j == 1.0), -1.0, j == 0.0); let fs = 0.0;",
  },
  v1: {
    value: "let d = cell - p; let f = max(0.0, 1.0 - abs(d));",
    derivatives: "let fp = select(0.0, sign(d), abs(d) < 1.0); let fs = 0.0;",
  },
  max: {
    value: "let d = cell - p; let f = max(0.0, s - abs(d));",
    derivatives: "let fp = select(0.0, sign(d), abs(d) < s); let fs = select(0.0, 1.0, abs(d) < s);",
  },
  gauss: {
    value: "let d = cell - p; let e = d / s; let f = exp(-0.5 * e * e);",
    derivatives: "let fp = f * e / s; let fs = fp * e;",
  },
};

/**
 * Functions of (cell, p, s): `factor`, f, and with `derivatives` also `factors`, f and its derivatives by p and s. A NaN
 * position or spread makes them NaN instead of falling between the cells.
 */
export function factorFunctions(version: Version, derivatives: boolean): string {
  const { value, derivatives: by } = FACTOR[version];
  return `${IS_NAN}
fn factor(cell: f32, p: f32, s: f32) -> f32 {
${value}
return select(f, p + s, isNaN(p + s));
}
${
    derivatives
      ? `fn factors(cell: f32, p: f32, s: f32) -> vec3f {
${value}
${by}
return select(vec3f(f, fp, fs), vec3f(p + s), isNaN(p + s));
}`
      : ""
  }`;
}

/** Statements that declare an element's p<a> and s<a> for every axis a: `entry(a)` is its place in P and SIG. */
export function positionCode(
  version: Version,
  spreadOffset: number,
  axes: number,
  entry: (axis: number) => string,
): string {
  const { spread } = INTERPOLATION[version];
  return Array.from(
    { length: axes },
    (_, a) =>
      `let at${a} = ${entry(a)}; let p${a} = P[at${a}]; let s${a} = ${
        spread ? `abs(SIG[at${a}]) + ${float(spreadOffset)}` : "1.0"
      };`,
  ).join("\n");
}
