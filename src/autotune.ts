/** Finds out which algorithm runs each convolution of a model fastest on this device, and remembers it. */
import { currentBackend } from "./backend.ts";
import { type DTypeName, dtypeNamed, ELEMENT_BYTES } from "./dtype.ts";
import { type Entry, readTable, writeTable } from "./autotune/table.ts";
import { writeFileAtomic } from "./io/files.ts";
import type { Module } from "./nn/module.ts";
import { tidy } from "./scope.ts";
import { type Shape, sizeOf } from "./spec.ts";
import { noGrad } from "./tape.ts";
import { adopt, operand } from "./tensor.ts";

/** Options of {@linkcode autotune}. */
export interface AutotuneOptions {
  /**
   * A JSON file of findings, by adapter: what it holds for this one is not timed again, what is found goes into it. It is
   * made where it is not there, its directory must be. Default: findings last as long as the backend.
   */
  file?: string;
  /** How the input's elements are kept. Default float32. */
  dtype?: DTypeName;
  /** Told where the file cannot be used or written: findings are then kept in memory. Default: `console.warn`. */
  warn?: (message: string) => void;
}

/** What was found about one pass of a convolution. */
export interface AutotuneFinding {
  /** Its pass and geometry. */
  readonly convolution: string;
  /** The fastest algorithm, taken from now on. */
  readonly algorithm: string;
  /** Milliseconds of one run by algorithm. */
  readonly milliseconds: Readonly<Record<string, number>>;
  /** Whether the file knew it. */
  readonly remembered: boolean;
}

/**
 * Times every algorithm that can run the convolutions of `module` on this device, forward and backward, and takes the
 * fastest from then on, for all modules. Without it, the choice follows measurements on an H100 and on llvmpipe. Takes
 * a fraction of a second for each convolution; on backends without a choice it does nothing.
 *
 * @param module whose forward pass shows the convolutions; it is not run
 * @param inputShape as in use: the batch, too, counts
 * @returns what was found, in no order; empty where there is no choice
 * @throws {RangeError} where the module refuses the shape, or `dtype` is unknown
 * @throws {Error} before `init`
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { autotune, Dcls2d, init } from "@dcls/dcls";
 *
 * await init();
 * const layer = new Dcls2d(2, 2, { kernelCount: 3, dilatedKernelSize: 5, padding: 2, groups: 2 });
 * for (const { algorithm, milliseconds } of await autotune(layer, [1, 2, 20, 20])) {
 *   assert.equal(Math.min(...Object.values(milliseconds)), milliseconds[algorithm]);
 * }
 * ```
 */
export async function autotune(
  module: Module,
  inputShape: Shape,
  options: AutotuneOptions = {},
): Promise<AutotuneFinding[]> {
  const backend = currentBackend("autotune"), { tuner } = backend;
  const dtype = dtypeNamed("autotune", options.dtype);
  if (!tuner) return [];
  const { file, warn = warnOnConsole } = options;
  const cases = tuner.collect(sizeOf(inputShape) * ELEMENT_BYTES[dtype], (input) =>
    noGrad(() =>
      tidy(() => {
        const x = adopt(backend, input, inputShape, dtype);
        return operand(module.forward(x), "autotune").handle;
      })
    ));
  const table = file === undefined ? {} : await readTable(file, warn);
  const known = table[tuner.adapter] ??= {};
  const findings: AutotuneFinding[] = [];
  for (const each of cases) {
    const remembered = Object.hasOwn(known, each.key);
    const entry = remembered ? known[each.key] : fastest(await tuner.measure(each));
    known[each.key] = entry;
    tuner.use(each.key, entry.algorithm);
    findings.push({ convolution: each.key, ...entry, remembered });
  }
  if (file !== undefined && findings.some(({ remembered }) => !remembered)) {
    await writeFileAtomic(file, writeTable(table)).catch((error: Error) =>
      warn(`${error.message}. The findings of autotune are kept in memory`)
    );
  }
  return findings;
}

function fastest(milliseconds: Record<string, number>): Entry {
  const [[algorithm]] = Object.entries(milliseconds).sort(([, a], [, b]) => a - b);
  return { algorithm, milliseconds };
}

function warnOnConsole(message: string): void {
  // deno-lint-ignore no-console
  console.warn(message);
}
