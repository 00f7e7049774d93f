/** What labelled images are, whatever package or directory they come from. */

/** Images with their labels. */
export interface LabelledImages {
  /** Grey values from 0 to 255, `[count, rows, columns]`, row-major. */
  readonly images: Uint8Array;
  /** Classes from 0 to 9, `[count]`. */
  readonly labels: Uint8Array;
  /** Number of images. */
  readonly count: number;
}

/** A data set of labelled images, all of one size. */
export interface ImageDataset {
  /** "MNIST", or the directory's own name. */
  readonly name: string;
  /** What to learn from. */
  readonly train: LabelledImages;
  /** What to be judged by. */
  readonly test: LabelledImages;
  /** Height of an image, in pixels; 28 for MNIST. */
  readonly rows: number;
  /** Width of an image, in pixels; 28 for MNIST. */
  readonly columns: number;
}
