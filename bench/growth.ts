/**
 * The sweep as a table and a picture.
 * @module
 */
import { colors, heading, type Panel, renderSvg } from "../src/train/pictures/render.ts";
import {
  adapterLines,
  digits,
  markdownOf,
  type Surroundings,
  surroundingsLines,
  type Table,
} from "./report.ts";
import type { SuiteResult } from "./rows.ts";
import { spread, SWEEP_OPS, type SweepAxis, type SweepPoint } from "./sweep.ts";

/** Times may spread by this much over all sizes, versions and counts. */
export const CLAIMED_SPREAD = 2;

/** How each axis reads. */
const TITLES = {
  batch: "batch",
  channels: "channels",
  plane: "plane, height and width",
  size: "dilated kernel size",
  count: "kernel count",
} as const satisfies Partial<Record<SweepAxis, string>>;
const AXES = Object.keys(TITLES) as (keyof typeof TITLES)[];

/** The points along the axes, forward and both ways side by side. */
export function growthTable(points: readonly SweepPoint[]): Table {
  const forward = points.filter(({ op, axis }) => op === SWEEP_OPS[0] && axis !== "claim");
  const both = points.filter(({ op, axis }) => op === SWEEP_OPS[1] && axis !== "claim");
  return {
    head: ["axis", "value", "forward ms", "by", "forward + backward ms", "by"],
    texts: [0, 3, 5],
    rows: forward.map((point, i) => [
      point.axis,
      String(point[point.axis as keyof typeof TITLES]),
      digits(point.median),
      point.algorithm,
      digits(both[i].median),
      both[i].algorithm,
    ]),
  };
}

/** The claim's grid: sizes across, versions and counts down. */
export function claimTable(points: readonly SweepPoint[], op: SweepPoint["op"]): Table {
  const claimed = points.filter((point) => point.axis === "claim" && point.op === op);
  const sizes = [...new Set(claimed.map(({ size }) => size))];
  const rows = Map.groupBy(claimed, ({ version, count }) => `${version}|${count}`);
  return {
    head: ["version", "count", ...sizes.map((size) => `${size} x ${size}`)],
    texts: [0],
    rows: [...rows].map(([key, all]) => [
      ...key.split("|"),
      ...sizes.map((size) => digits(all.find((point) => point.size === size)?.median ?? NaN)),
    ]),
  };
}

const describe = ({ version, size, count, median }: SweepPoint): string =>
  `${digits(median)} ms (${version}, ${size} x ${size}, ${count})`;

/** The claim in words, for all algorithms together and for the FFT alone. */
export function claimLines(points: readonly SweepPoint[]): string[] {
  return SWEEP_OPS.flatMap((op) =>
    [
      { name: "all algorithms", keep: (): boolean => true },
      { name: "the FFT alone", keep: (point: SweepPoint): boolean => point.algorithm === "FFT" },
    ].flatMap(({ name, keep }) => {
      const found = spread(points, op, keep);
      if (!found) return [];
      const { ratio, least, most } = found;
      const verdict = ratio <= CLAIMED_SPREAD ? "holds" : "does not hold";
      return [
        `${op}, ${name}: ${digits(ratio)}x from ${describe(least)} to ${describe(most)}; ` +
        `within ${CLAIMED_SPREAD}x ${verdict}`,
      ];
    })
  );
}

/** One panel an axis, both on logarithmic scales, so that proportional growth is a diagonal. */
export async function drawGrowth(points: readonly SweepPoint[], adapter: string): Promise<string> {
  const panel = (axis: keyof typeof TITLES): Panel => {
    const values = points.filter((point) => point.axis === axis)
      .map((point) => ({ at: point[axis], milliseconds: point.median, op: point.op, by: point.algorithm }));
    const ticks = [...new Set(values.map(({ at }) => at))];
    return {
      width: 250,
      height: 180,
      data: { values },
      layer: [{ mark: { type: "line" } }, { mark: { type: "point", filled: true, size: 45 } }],
      encoding: {
        x: {
          field: "at",
          type: "quantitative",
          scale: { type: "log", nice: false },
          axis: { title: TITLES[axis], values: ticks, format: "d" },
        },
        y: { field: "milliseconds", type: "quantitative", scale: { type: "log" }, axis: { title: "ms" } },
        color: {
          field: "op",
          type: "nominal",
          scale: { domain: [...SWEEP_OPS], range: [colors.blue, colors.vermillion] },
          legend: { title: null },
        },
        shape: {
          field: "by",
          type: "nominal",
          scale: { domain: ["FFT", "direct"], range: ["circle", "square"] },
          legend: { title: null },
        },
      },
    };
  };
  const panels = AXES.filter((axis) => points.some((point) => point.axis === axis)).map(panel);
  return await renderSvg({
    title: heading("How a layer's time grows", adapter),
    vconcat: [{ hconcat: panels.slice(0, 3) }, { hconcat: panels.slice(3) }],
  });
}

/** The sweep's section of `RESULTS.md`. */
export function markdownSweep(
  points: readonly SweepPoint[],
  surroundings: Surroundings,
  adapter: Pick<SuiteResult, "adapter" | "software" | "limits">,
): string {
  const { batch, channels, plane } = points.find(({ axis }) => axis === "claim") ?? points[0];
  return [
    "## Growth",
    "",
    "```",
    ...surroundingsLines(surroundings),
    ...adapterLines(adapter),
    "```",
    "",
    `One axis at a time, the others as in ${batch} images of ${channels} channels of ${plane} x ${plane}, 34 elements ` +
    "in 17 x 17, version `v0`; whole layers, medians.",
    "",
    "![Growth](growth.svg)",
    "",
    ...markdownOf(growthTable(points)),
    "",
    "### Across sizes, versions and counts",
    "",
    ...claimLines(points).map((line) => `- ${line}`),
    ...SWEEP_OPS.flatMap((op) => ["", `${op}, ms:`, "", ...markdownOf(claimTable(points, op))]),
  ].join("\n");
}
