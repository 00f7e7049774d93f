/**
 * What all pictures share: colours, theme, checks of the data, and the way from a Vega-Lite specification to SVG.
 *
 * vega and vega-lite are loaded at the first picture: a run that draws none pays nothing for them. They need no DOM
 * and no permission.
 * @module
 */
import type { Config, TopLevelSpec } from "vega-lite";

/** A whole picture. */
export type Picture = TopLevelSpec;
/** A part of a picture, to be laid beside or below others. */
export type Panel = Extract<TopLevelSpec, { vconcat: unknown }>["vconcat"][number];

/** Okabe and Ito's colours, told apart with every common kind of colour blindness. */
export const colors = {
  blue: "#0072B2",
  vermillion: "#D55E00",
  green: "#009E73",
  purple: "#CC79A7",
  sky: "#56B4E9",
  ink: "#222222",
  grey: "#767676",
  pale: "#E4E7EB",
} as const;

/** The look of every picture. */
const theme: Config = {
  background: "white",
  padding: 16,
  aria: false, // one label per mark would double the file
  font: "Helvetica, Arial, 'DejaVu Sans', sans-serif",
  title: { fontSize: 13, fontWeight: "bold", anchor: "start", frame: "group", color: colors.ink, offset: 8 },
  axis: {
    labelFontSize: 11,
    labelColor: "#444444",
    titleFontSize: 11.5,
    titleFontWeight: "normal",
    titleColor: colors.ink,
    titlePadding: 6,
    gridColor: colors.pale,
    domainColor: "#9AA0A6",
    tickColor: "#9AA0A6",
    tickSize: 4,
  },
  legend: {
    labelFontSize: 11,
    labelColor: "#333333",
    labelLimit: 400,
    titleLimit: 400,
    titleFontSize: 11.5,
    titleFontWeight: "normal",
    titleColor: colors.ink,
    symbolStrokeWidth: 2,
    orient: "bottom",
    offset: 10,
  },
  view: { stroke: null },
  concat: { spacing: 28 },
};

/**
 * Title of the whole picture, above the titles of its panels. Keep the lines below it short: vega reckons text
 * without a font, generously, and makes room for what it reckons.
 */
export function heading(text: string, ...lines: string[]): Exclude<Picture["title"], undefined> {
  return {
    text,
    fontSize: 17,
    offset: 14,
    frame: "bounds",
    ...(lines.length === 0 ? {} : {
      subtitle: lines,
      subtitleColor: "#555555",
      subtitleFontSize: 12,
      subtitleLineHeight: 16,
      subtitlePadding: 5,
    }),
  };
}

/** A picture that says why there is nothing in it. */
export function emptyPicture(title: string, note: string): Picture {
  return {
    title: heading(title),
    width: 360,
    height: 80,
    data: { values: [{ note }] },
    mark: { type: "text", fontSize: 13, color: colors.grey },
    encoding: { text: { field: "note", type: "nominal" } },
  };
}

/**
 * Refuses NaN and infinities, which vega would leave out or write into the picture.
 *
 * @param what the picture, as the end of "Cannot draw ..."
 * @param name the values, for the message
 * @throws RangeError that names the first value that is not finite, and its index
 */
export function requireFinite(what: string, name: string, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw new RangeError(`Cannot draw ${what}: ${name} must be finite, got ${values[i]} at index ${i}`);
    }
  }
}

/** Smallest and largest value of all lists together; null where all are empty. */
export function extent(...lists: readonly ArrayLike<number>[]): [least: number, most: number] | null {
  let least = Infinity;
  let most = -Infinity;
  for (const list of lists) {
    // No Math.min(...list): a million arguments overflow the stack.
    for (let i = 0; i < list.length; i++) {
      if (list[i] < least) least = list[i];
      if (list[i] > most) most = list[i];
    }
  }
  return least <= most ? [least, most] : null;
}

/**
 * An SVG file from a Vega-Lite specification in the theme of this project. Needs no permission.
 *
 * @param warn gets the specification's warnings, such as a scale without data; default: they are dropped, since
 * a picture that is not perfect must not stop a training run
 * @throws Error if vega refuses the specification
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const svg = await renderSvg(emptyPicture("Loss", "no steps yet"));
 * assert.match(svg, /^<svg .*no steps yet.*<\/svg>$/s);
 * ```
 */
export async function renderSvg(
  picture: Picture,
  warn: (message: string) => void = () => {},
): Promise<string> {
  const [vega, vegaLite] = await Promise.all([import("vega"), import("vega-lite")]);
  const logger = vega.logger(vega.Warn, undefined, (_method, _level, message) => warn(message.join(" ")));
  const { spec } = vegaLite.compile(picture, { config: theme, logger });
  const view = new vega.View(vega.parse(spec, undefined, {}), { renderer: "none", logger });
  try {
    vega.resetSVGDefIds(); // the same data gives the same file
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
