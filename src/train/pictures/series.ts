/**
 * What is done to a series of numbers before it is drawn.
 * @module
 */

/** Points of the raw curve: more would be drawn on top of one another. */
const mostPoints = 1200;

/** Mean over a window of a fortieth of the series around each value: unlike a trailing mean it does not lag. */
export function smooth(values: readonly number[]): number[] {
  const half = Math.floor(values.length / 80);
  const sums = [0];
  for (const value of values) sums.push(sums[sums.length - 1] + value);
  return values.map((_, i) => {
    const [start, end] = [Math.max(0, i - half), Math.min(values.length, i + half + 1)];
    return (sums[end] - sums[start]) / (end - start);
  });
}

/** Indices to draw: all, or the smallest and the largest loss of each of equal pieces, so that spikes stay. */
export function thin(values: readonly number[]): number[] {
  if (values.length <= mostPoints) return values.map((_, i) => i);
  const pieces = mostPoints / 2;
  const indices = new Set<number>([0, values.length - 1]);
  for (let piece = 0; piece < pieces; piece++) {
    const start = Math.floor(piece * values.length / pieces);
    const end = Math.floor((piece + 1) * values.length / pieces);
    let [least, most] = [start, start];
    for (let i = start; i < end; i++) {
      if (values[i] < values[least]) least = i;
      if (values[i] > values[most]) most = i;
    }
    indices.add(least).add(most);
  }
  return [...indices].sort((a, b) => a - b);
}

/** The domain of an axis that shows all values with some air, also where they are all one. */
export function padded([least, most]: readonly [number, number]): [number, number] {
  const air = most > least ? 0.12 * (most - least) : Math.max(1e-3, 0.02 * Math.abs(most));
  return [least - air, most + air];
}

/** 1, 2 and 5 times the powers of ten inside the domain. */
export function logTicks([least, most]: readonly [number, number]): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(least)); power <= Math.log10(most); power++) {
    ticks.push(...[1, 2, 5].map((digit) => Number(`${digit}e${power}`)));
  }
  return ticks.filter((tick) => tick >= least && tick <= most);
}
