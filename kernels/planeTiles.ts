/**
 * How planes are cut into tiles for transforms by lines (planeLines.ts), and which transform lengths they take.
 *
 * Where one transform serves a whole axis, it is one tile, and the zeros behind the plane may be shared by both its ends:
 * "same" padding needs a length of H + floor(S / 2). Longer axes are cut: a tile is `step` results and the pixels that they
 * meet (overlap-save), read from the tensor where they lie. Position n of a transform that begins at pixel q is pixel
 * q + n, or q + n - L among the last `before` positions: the offsets of taps, and so the kernel's spectrum, stay the same.
 */
import { offsetsOf, type PlaneAxis, planeLength, usedTaps } from "./planeAxis.ts";
import type { Storage } from "./kernel.ts";

/** Transform lengths along a row: 8 lanes with 1 to 12 values. */
const ROW_LENGTHS = [8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 96];
/** Down a column, where lanes hold pairs of rows. */
const COLUMN_LENGTHS = [16, 32, 48, 64, 80];
/** Tiles begin at multiples of it, so that pixels are read four at a time. */
const ALIGNMENT = 4;
/** A tile of fewer results than this is not worth its halo. */
const LEAST_STEP = 8;

/** An axis, its transform and its tiles. */
export interface TileAxis extends PlaneAxis {
  /** Length of the transform along this axis. */
  readonly L: number;
  /** Results a tile has. */
  readonly step: number;
  /** Whether the tiles have neighbours; otherwise one covers all, and no pixel has another copy. */
  readonly cut: boolean;
}

/** The tiles of a convolution. */
export interface TilePlan {
  readonly rows: TileAxis;
  readonly columns: TileAxis;
  /** Says all that the kernels depend on. */
  readonly key: string;
  /** Workgroup memory that the kernels take. */
  readonly workgroupBytes: number;
  /** How x, y and their gradients are kept. */
  readonly storage: Storage;
}

/** What a tile reads around its pixels. */
export interface Halo {
  readonly before: number;
  readonly after: number;
}

const NONE: Halo = { before: 0, after: 0 };
const aligned = (n: number): number => Math.ceil(n / ALIGNMENT) * ALIGNMENT;

/** The pixels of x around the results of a tile (`toInput`: those of dy around a tile of dx). */
export function haloOf(axis: TileAxis, toInput: boolean): Halo {
  if (!axis.cut) return NONE;
  const { low, high } = offsetsOf(axis);
  const [before, after] = toInput ? [high, -low] : [-low, high];
  return { before: aligned(Math.max(0, before)), after: Math.max(0, after) };
}

/** Tiles along an axis of `extent` results. */
export function tilesAlong({ cut, step }: TileAxis, extent: number): number {
  return cut ? Math.ceil(extent / step) : 1;
}

/** Rows (for an axis of rows) that a tile's plane holds in workgroup memory. */
export function heldRows(axis: TileAxis): number {
  return axis.cut ? axis.L : Math.max(axis.input, axis.output);
}

/** The number of taps between the first and the last that count. */
export function tapCount(axis: PlaneAxis): number {
  const { first, last } = usedTaps(axis);
  return Math.max(0, last - first + 1);
}

/** An axis for a transform of length L: whole where it fits, else in tiles (of no result where the halo takes it all). */
export function cutAxis(axis: PlaneAxis, L: number): TileAxis {
  if (L >= planeLength(axis)) {
    return { ...axis, L, step: Math.max(axis.input, axis.output), cut: false };
  }
  const cut = { ...axis, L, step: 0, cut: true };
  const halo = Math.max(...[false, true].map((toInput) => {
    const { before, after } = haloOf(cut, toInput);
    return before + after;
  }));
  return { ...cut, step: Math.max(0, Math.floor((L - halo) / ALIGNMENT) * ALIGNMENT) };
}

function candidates(axis: PlaneAxis, lengths: readonly number[]): TileAxis[] {
  const whole = lengths.find((L) => L >= planeLength(axis)) ?? Infinity;
  return lengths.filter((L) => L <= whole).map((L) => cutAxis(axis, L))
    .filter(({ cut, step }) => !cut || step >= LEAST_STEP);
}

/** The cheapest tiles whose planes fit `workgroupBytes` of workgroup memory, or null. */
export function tilePlan(
  rows: PlaneAxis,
  columns: PlaneAxis,
  workgroupBytes: number,
  storage: Storage = "f32",
): TilePlan | null {
  let best: TilePlan | null = null, least = Infinity;
  for (const r of candidates(rows, COLUMN_LENGTHS)) {
    for (const c of candidates(columns, ROW_LENGTHS)) {
      const held = Math.max(heldRows(r), tapCount(r)), bytes = 16 * Math.ceil(held / 2) * c.L;
      if (bytes > workgroupBytes) continue;
      const tiles = tilesAlong(r, Math.max(r.input, r.output)) * tilesAlong(c, Math.max(c.input, c.output));
      const cost = tiles * (heldRows(r) + r.L) * c.L;
      if (cost < least) {
        least = cost;
        const key = [r, c].map((axis) => Object.values(axis).join()).join("|") + ` ${bytes} ${storage}`;
        best = { rows: r, columns: c, key, workgroupBytes: bytes, storage };
      }
    }
  }
  return best;
}
