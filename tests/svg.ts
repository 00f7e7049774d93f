/**
 * Reads pictures for the tests: strictly, and with a look at every attribute.
 * @module
 */
import { SaxesParser } from "saxes";
import { type Picture, renderSvg } from "../src/train/pictures/render.ts";
import { assert, assertEquals, fail } from "./assert.ts";

/** What a picture holds: its texts in order, and how many shapes the data's marks of each kind have. */
export interface Contents {
  texts: string[];
  shapes: Record<string, number>;
}

/** Reads the file with a strict XML parser and looks at every attribute. */
export function readSvg(svg: string): Contents {
  const contents: Contents = { texts: [], shapes: {} };
  const open: { name: string; mark: string }[] = [];
  let text = "";
  const parser = new SaxesParser();
  parser.on("error", (error) => fail(`not well-formed: ${error.message}`));
  parser.on("opentag", ({ name, attributes }) => {
    if (open.length === 0) {
      assertEquals([name, attributes.xmlns], ["svg", "http://www.w3.org/2000/svg"]);
      assert(Number(attributes.width) > 100 && Number(attributes.height) > 50, "too small to be seen");
    }
    for (const [key, value] of Object.entries(attributes)) {
      assert(!/NaN|undefined|Infinity|null/.test(value), `${key}="${value}" in <${name}>`);
    }
    const parent = open.at(-1);
    const mark = /^mark-(\w+) role-mark/.exec(attributes.class ?? "")?.[1] ?? "";
    if (parent !== undefined && parent.mark !== "") {
      contents.shapes[parent.mark] = (contents.shapes[parent.mark] ?? 0) + 1;
    }
    open.push({ name, mark });
    text = "";
  });
  parser.on("text", (piece) => void (text += piece));
  parser.on("closetag", ({ name }) => {
    open.pop();
    if (name === "text") contents.texts.push(text);
  });
  parser.write(svg).close();
  assertEquals(open.length, 0);
  return contents;
}

/** The picture's contents, drawn without a single warning. */
export async function render(picture: Picture): Promise<Contents> {
  return readSvg(await renderSvg(picture, (message) => fail(`vega warns: ${message}`)));
}

/** Repeatable numbers in [0, 1): Park and Miller's. */
export function random(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 16807) % 2147483647) / 2147483647;
}

/** Repeatable normal numbers by Box and Muller. */
export function normal(seed: number): () => number {
  const next = random(seed);
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
}
