/**
 * Files to what the network takes, on other threads: reading, decoding and resizing a photograph of 500 x 375 takes
 * about 19 ms (86 KB of JPEG, one core of an EPYC), and a GPU classifies hundreds in a second.
 */
import { decodePhoto } from "../../data/photos/decode.ts";
import { preprocess } from "../../data/photos/preprocess.ts";

/** What a thread is asked, and what it answers. */
export interface Request {
  readonly id: number;
  readonly path: string;
  readonly size: number;
}

/** Values, or why there are none. */
export type Answer =
  & { readonly id: number }
  & ({ readonly values: Float32Array } | { readonly reason: string });

/** Makes the network's input of files. */
export interface Preparer {
  /** `[3, size, size]` of one file. Rejects with what is wrong with it. */
  prepare(path: string): Promise<Float32Array>;
  /** Ends the threads. */
  close(): void;
}

/** Reads, decodes and resizes a file on this thread: as it is stored, whatever EXIF says, as is usual for ImageNet. */
export async function prepareFile(path: string, size: number): Promise<Float32Array<ArrayBuffer>> {
  return preprocess(await decodePhoto(await Deno.readFile(path), path, { orient: false }), size);
}

/**
 * Starts threads that prepare files, each the next one that is asked for.
 * @param size side of the square that the network sees
 * @param threads how many; 0 for this thread alone
 */
export function createPreparer(size: number, threads: number): Preparer {
  if (threads === 0) return { prepare: (path) => prepareFile(path, size), close: () => {} };
  const asked = new Map<number, { resolve(values: Float32Array): void; reject(reason: Error): void }>();
  const waiting: Request[] = [];
  const free: Worker[] = [];
  let count = 0;
  const give = (): void => {
    while (waiting.length > 0 && free.length > 0) free.pop()!.postMessage(waiting.shift());
  };
  const workers = Array.from({ length: threads }, () => {
    const worker = new Worker(new URL("./prepare_worker.ts", import.meta.url).href, { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const { resolve, reject } = asked.get(data.id)!;
      asked.delete(data.id);
      if ("values" in data) resolve(data.values);
      else reject(new Error(data.reason));
      free.push(worker);
      give();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of asked.values()) reject(new Error(`Cannot decode images: ${event.message}`));
      asked.clear();
    };
    free.push(worker);
    return worker;
  });
  return {
    prepare: (path) =>
      new Promise((resolve, reject) => {
        asked.set(count, { resolve, reject });
        waiting.push({ id: count++, path, size });
        give();
      }),
    close: () => workers.forEach((worker) => worker.terminate()),
  };
}
