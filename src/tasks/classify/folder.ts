/** Labelled folders: one folder for each class, named by its index, its WordNet id or its name. */
import { join } from "node:path";
import type { ClassNames } from "../../data/photos/class_names.ts";

/** An image with its class. */
export interface LabelledFile {
  readonly path: string;
  readonly label: number;
}

const IMAGE = /\.(jpe?g|png)$/i;

/** A name as folders write it: `great_white_shark` for "great white shark". */
function plain(name: string): string {
  return name.toLowerCase().replace(/[\s_-]+/g, " ").trim();
}

/**
 * Which class each folder's name stands for. All must be of one kind: indices, WordNet ids, names (one of a class's
 * synonyms is enough), or else as many folders as there are classes, which then are the classes in sorted order, as
 * PyTorch's `ImageFolder` has it.
 * @throws {RangeError} "Cannot evaluate <folder>: ..." for names that stand for no class, or for several
 */
export function labelsOf(
  folder: string,
  names: readonly string[],
  classes: number,
  known: ClassNames | null,
): Map<string, number> {
  const sorted = names.toSorted();
  const byIndex = (name: string): number => /^\d+$/.test(name) && Number(name) < classes ? Number(name) : -1;
  const byId = (name: string): number => known?.ids.indexOf(name) ?? -1;
  const synonyms = new Map<string, number[]>();
  known?.names.forEach((list, index) => {
    for (const name of new Set([plain(list), ...list.split(",").map(plain)])) {
      synonyms.set(name, [...synonyms.get(name) ?? [], index]);
    }
  });
  const ambiguous = sorted.find((name) => (synonyms.get(plain(name))?.length ?? 0) > 1);
  const byName = (name: string): number => synonyms.get(plain(name))?.[0] ?? -1;
  for (const rule of [byIndex, byId, byName]) {
    if (!sorted.every((name) => rule(name) >= 0)) continue;
    if (rule === byName && ambiguous !== undefined) {
      throw new RangeError(
        `Cannot evaluate ${folder}: a folder must stand for one class, got ${ambiguous} for ` +
          `${synonyms.get(plain(ambiguous))!.join(" and ")}; name folders by index`,
      );
    }
    return new Map(sorted.map((name) => [name, rule(name)]));
  }
  if (sorted.length === classes) return new Map(sorted.map((name, index) => [name, index]));
  const stranger = sorted.find((name) => byIndex(name) < 0 && byId(name) < 0 && byName(name) < 0) ??
    sorted[0];
  const hint = /^n\d{8}$/.test(stranger)
    ? "; WordNet ids are known from --names LOC_synset_mapping.txt, or where all classes have a folder"
    : "";
  throw new RangeError(
    `Cannot evaluate ${folder}: its folders must be named by index (0 to ${
      classes - 1
    }), WordNet id or class name, ` +
      `or be ${classes}, one for each class, got ${sorted.length}, ${stranger} among them${hint}`,
  );
}

/**
 * The images of a labelled folder, in the order of their paths.
 * @throws {RangeError} "Cannot evaluate <folder>: ..." where it holds no folder, no image, or folders of no class
 */
export function listFolder(folder: string, classes: number, known: ClassNames | null): LabelledFile[] {
  const entries = (path: string): Deno.DirEntry[] =>
    [...Deno.readDirSync(path)].sort((a, b) => a.name < b.name ? -1 : 1);
  const folders = entries(folder).filter(({ name, isDirectory, isSymlink }) =>
    (isDirectory || isSymlink && Deno.statSync(join(folder, name)).isDirectory) && !name.startsWith(".")
  ).map(({ name }) => name);
  if (folders.length === 0) {
    throw new RangeError(`Cannot evaluate ${folder}: it must hold a folder for each class, got none`);
  }
  const labels = labelsOf(folder, folders, classes, known);
  const files = folders.flatMap((name) =>
    entries(join(folder, name))
      .filter((entry) => !entry.isDirectory && IMAGE.test(entry.name))
      .map((entry) => ({ path: join(folder, name, entry.name), label: labels.get(name)! }))
  );
  if (files.length === 0) {
    throw new RangeError(
      `Cannot evaluate ${folder}: its folders must hold .jpg, .jpeg or .png files, got none`,
    );
  }
  return files;
}
