/** A model judged on labelled images: how often it is right, and how fast. */
import type { ConvNeXt } from "../../models/mod.ts";
import type { LabelledFile } from "./folder.ts";
import { predict, topClasses } from "./predict.ts";
import { createPreparer } from "./prepare.ts";

/** An image that could not be judged. */
export interface Unreadable {
  readonly path: string;
  readonly reason: string;
}

/** What was found. */
export interface Evaluation {
  /** Images judged. */
  readonly images: number;
  /** Images whose likeliest class is right, and whose right class is among the five likeliest. */
  readonly top1: number;
  readonly top5: number;
  /** Images left out, with why. */
  readonly unreadable: readonly Unreadable[];
  /** From the first file to the last result, decoding included. */
  readonly seconds: number;
  /** Images judged per second after the first batch, which also compiles kernels; of all, where there is one only. */
  readonly imagesPerSecond: number;
}

/** Options of {@linkcode evaluate}. */
export interface EvaluateOptions {
  /** Images at once. */
  readonly batch: number;
  /** Side of the square that the network sees. */
  readonly size: number;
  /** Threads that read and decode; 0 for none beside this one. */
  readonly threads: number;
  /** Called after each batch. */
  readonly report?: (done: Omit<Evaluation, "unreadable"> & { unreadable: number }) => void;
  /** Called for each image that cannot be read. */
  readonly reportUnreadable?: (image: Unreadable) => void;
  /** Stops between two batches. */
  readonly signal?: AbortSignal;
}

/** An image on its way. */
interface Prepared extends LabelledFile {
  readonly values: Promise<Float32Array>;
}

/** Judges a model. While the device works on a batch, the next two are read and decoded. */
export async function evaluate(
  model: ConvNeXt,
  files: readonly LabelledFile[],
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { batch, size, threads, report, reportUnreadable, signal } = options;
  const started = performance.now();
  const unreadable: Unreadable[] = [];
  let [images, top1, top5] = [0, 0, 0];
  let first: { time: number; images: number } | null = null;
  const result = (): Evaluation => {
    const now = performance.now();
    const steady = first !== null && images > first.images;
    const since = steady ? now - first!.time : now - started;
    const imagesPerSecond = (steady ? images - first!.images : images) / Math.max(since / 1000, 1e-9);
    return { images, top1, top5, unreadable, seconds: (now - started) / 1000, imagesPerSecond };
  };
  let pending: { labels: number[]; logits: Promise<Float32Array[]> } | null = null;
  const finish = async (): Promise<void> => {
    if (pending === null) return;
    const { labels, logits } = pending;
    pending = null;
    (await logits).forEach((values, i) => {
      const classes = topClasses(values, 5).map(({ index }) => index);
      images++;
      if (classes[0] === labels[i]) top1++;
      if (classes.includes(labels[i])) top5++;
    });
    first ??= { time: performance.now(), images };
    report?.({ ...result(), unreadable: unreadable.length });
  };
  const preparer = createPreparer(size, threads);
  const prepare = (begin: number): Prepared[] =>
    files.slice(begin, begin + batch).map(({ path, label }) => {
      const values = preparer.prepare(path);
      values.catch(() => {}); // looked at only when its batch has its turn
      return { path, label, values };
    });
  try {
    for (let begin = 0, next = prepare(0); begin < files.length; begin += batch) {
      signal?.throwIfAborted();
      const current = next;
      next = prepare(begin + batch);
      const inputs: Float32Array[] = [], labels: number[] = [];
      for (const { path, label, values } of current) {
        try {
          inputs.push(await values);
          labels.push(label);
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error);
          unreadable.push({ path, reason });
          reportUnreadable?.({ path, reason });
        }
      }
      await finish();
      if (inputs.length === 0) continue;
      const logits = predict(model, inputs, size);
      // Awaited only after the next images are ready: until then, a failure is nobody's.
      logits.catch(() => {});
      pending = { labels, logits };
    }
    await finish();
  } finally {
    preparer.close();
  }
  return result();
}
