/**
 * Starts tfjs on the fastest of its CPU engines that works: wasm with SIMD, else plain JavaScript ("cpu").
 *
 * wasm has no gradient kernels for convolutions, so every op here is composed of kernels that it does have.
 * Its binary comes with the npm package and is read from disk: one file, no network.
 */
import * as tf from "@tensorflow/tfjs";
// An import that is used only for types is dropped, and the engine would never register: hence the bare one.
import "@tensorflow/tfjs-backend-wasm";

/** tfjs's CPU engines, fastest first. */
export type EngineName = "wasm" | "cpu";

/** The part of tfjs's wasm module that {@linkcode guardHeap} needs. */
export interface WasmModule {
  _malloc(bytes: number): number;
  readonly HEAPU8: Uint8Array;
}

/** Starts an engine, or the first one that works where none is named. */
export async function startEngine(wanted?: EngineName): Promise<EngineName> {
  const failures: string[] = [];
  for (const name of wanted ? [wanted] : ["wasm", "cpu"] as const) {
    try {
      if (name === "wasm") await readBinary();
      if (await start(name)) return name;
      failures.push(`${name} did not start`);
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`);
    }
  }
  throw new Error(`Cannot init backend "tfjs": an engine must start, got ${failures.join("; ")}`);
}

/** setBackend alone is no proof: it can fail and still leave the engine's name behind. So one product is checked. */
async function start(name: EngineName): Promise<boolean> {
  const before = tf.env().getBool("PROD");
  if (name === "cpu") tf.env().set("PROD", true); // keeps its advertisement of tfjs-node off the terminal
  try {
    if (!await tf.setBackend(name) || tf.getBackend() !== name) return false;
    const product = tf.tidy(() => tf.matMul([[1, 2], [3, 4]], [[5], [6]]));
    const values = await product.data();
    product.dispose();
    if (values[0] !== 17 || values[1] !== 39) return false;
  } finally {
    tf.env().set("PROD", before);
  }
  if (name === "wasm") guardHeap((tf.backend() as unknown as { readonly wasm: WasmModule }).wasm);
  return true;
}

/** Without read access the wasm engine fails too, but only after pages of messages: ask first, under Deno. */
async function readBinary(): Promise<void> {
  if (!("Deno" in globalThis)) return;
  let entry: string;
  try {
    entry = import.meta.resolve("@tensorflow/tfjs-backend-wasm");
  } catch {
    return; // no import map, as in a published copy: then tfjs finds its file, or says so
  }
  if (entry.startsWith("file:")) await Deno.stat(new URL("tfjs-backend-wasm-simd.wasm", entry));
}

/**
 * Makes a full heap an error. It ends at 4 GiB; past that, malloc answers 0 or, as its end wraps around, an address
 * whose block reaches out of the heap, and tfjs looks at neither. After the second kind nothing it answers can be
 * trusted.
 * @throws {RangeError} from then on, in place of either answer
 */
export function guardHeap(wasm: WasmModule): void {
  if (guarded.has(wasm)) return;
  guarded.add(wasm);
  const allocate = wasm._malloc; // the real one: before its first call, which start() made, there is a stub
  let broken = false;
  wasm._malloc = (bytes) => {
    const address = broken || bytes >= 2 ** 32 ? 0 : allocate(bytes) >>> 0;
    broken ||= address > 0 && address + bytes > wasm.HEAPU8.length;
    if (broken || (address === 0 && bytes > 0)) {
      throw new RangeError(
        `Cannot allocate a tensor: all tensors together must fit into tfjs's wasm heap of 4 GiB, got ${bytes} bytes ` +
          `more than the ${tf.memory().numBytes} in use. Start again with smaller batches`,
      );
    }
    return address;
  };
}

const guarded = new WeakSet<WasmModule>();
