/** How reading a `.pth` file refuses: one class of error, one wording, and nothing of the file quoted at length. */

/**
 * Throws the one error that reading a bad file gives.
 * @throws {SyntaxError} "Cannot read pth: <rule>"
 */
export function refuse(rule: string): never {
  throw new SyntaxError(`Cannot read pth: ${rule}`);
}

/** A text or number from the file as it may stand in a message: quoted and short. */
export function show(value: unknown): string {
  const shown = typeof value === "bigint" ? `${value}`.slice(0, 80) : value;
  const text = JSON.stringify(typeof shown === "string" ? shown.slice(0, 100) : shown) ?? String(shown);
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}
