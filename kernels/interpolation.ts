/**
 * The version table of `src/interpolation.ts` in WGSL: along one axis, what an element at position p with spread s
 * gives to cell i, and the derivatives of that. `d` is i - c - p, computed as f32(i - c) - p so that ties stay exact;
 * `v0` goes by floor and remainder instead, so that its one-sided derivative survives rounding.
 */
import type { Version } from "../src/spec.ts";

/** Statements that declare `f`; with `derivatives` also `fp` (by position) and, where there is one, `fs` (by spread). */
export function factorCode(version: Version, derivatives: boolean): string {
  const of = (name: string, value: string): string => derivatives ? `let ${name} = ${value};\n` : "";
  switch (version) {
    case "v0":
      return `let low = floor(p); let r = p - low; let j = cell - low;
let f = select(select(0.0, r, j == 1.0), 1.0 - r, j == 0.0);
` + of("fp", "select(select(0.0, 1.0, j == 1.0), -1.0, j == 0.0)");
    case "v1":
      return `let d = cell - p; let f = max(0.0, 1.0 - abs(d));
` + of("fp", "select(0.0, sign(d), abs(d) < 1.0)");
    case "max":
      return `let d = cell - p; let f = max(0.0, s - abs(d));
` + of("fp", "select(0.0, sign(d), abs(d) < s)") + of("fs", "select(0.0, 1.0, abs(d) < s)");
    case "gauss":
      return `let d = cell - p; let f = exp(-d * d / (2.0 * s * s));
` + of("fp", "f * d / (s * s)") + of("fs", "f * d * d / (s * s * s)");
  }
}
