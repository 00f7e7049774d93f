/**
 * What the classes are called: ImageNet-1k's 1,000 names, from the list that Google ships with its MobileNet for
 * TensorFlow.js (`@tensorflow-models/mobilenet`, of which only that file is loaded), or those of a file.
 *
 * For tasks: the library's entry points must not import this file, since it brings a package.
 */

/** Names by class, and the WordNet ids (`n01440764`) where they are known. */
export interface ClassNames {
  /** Synonyms separated by commas, by class. */
  readonly names: readonly string[];
  /** WordNet id by class; null where the source has none. */
  readonly ids: readonly (string | null)[];
}

/** ImageNet-1k's names, in the order of its classes. Without ids: the source has none. */
export async function imagenetNames(): Promise<ClassNames> {
  const { IMAGENET_CLASSES } = await import("@tensorflow-models/mobilenet/dist/imagenet_classes.js");
  const names = Array.from({ length: 1000 }, (_, i) => IMAGENET_CLASSES[i]);
  return { names, ids: names.map(() => null) };
}

const ID = /^n\d{8}$/;

/**
 * Reads a list of class names: a line for each class, in order, `name` or `n01440764 name` (as ImageNet's own
 * `LOC_synset_mapping.txt` and `synset_words.txt`); or JSON, a list of names or Keras's
 * `{"0": ["n01440764", "tench"], ...}`.
 * @param file its name, for messages
 * @throws {SyntaxError} "Cannot read <file>: ..." for other JSON, and where a class is missing or has no name
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { parseClassNames } from "./class_names.ts";
 * const { names, ids } = parseClassNames("n01440764 tench, Tinca tinca\nn01443537 goldfish\n", "names.txt");
 * assert.deepEqual(names, ["tench, Tinca tinca", "goldfish"]);
 * assert.deepEqual(ids, ["n01440764", "n01443537"]);
 * ```
 */
export function parseClassNames(text: string, file: string): ClassNames {
  const refuse = (rule: string): never => {
    throw new SyntaxError(`Cannot read ${file}: ${rule}`);
  };
  let entries: (readonly [id: string | null, name: unknown])[];
  if (/^\s*[[{]/.test(text)) {
    let json: unknown;
    try {
      json = JSON.parse(text);
    } catch (error) {
      return refuse(`it must be JSON or lines of names, got ${(error as Error).message}`);
    }
    const record = json as Record<string, unknown>;
    entries = Array.from({ length: Object.keys(record).length }, (_, i) => {
      const value = record[i];
      return Array.isArray(value) ? [value[0], value[1]] as const : [null, value] as const;
    });
  } else {
    const lines = text.replace(/^\ufeff/, "").trimEnd().split(/\r?\n/);
    entries = lines.map((line) => {
      const [first, ...rest] = line.trim().split(/\s+/);
      return ID.test(first) ? [first, rest.join(" ")] as const : [null, line.trim()] as const;
    });
  }
  entries.forEach(([id, name], i) => {
    if (typeof name !== "string" || name === "" || (id !== null && !ID.test(id))) {
      refuse(`class ${i} must have a name, got ${JSON.stringify(name ?? null)}`);
    }
  });
  return { names: entries.map(([, name]) => name as string), ids: entries.map(([id]) => id) };
}
