/**
 * Pictures of a training run, as SVG text. Drawn by vega and vega-lite, which are loaded at the first picture;
 * no function here needs a permission.
 * @module
 */
export { type ComparisonRow, drawComparison } from "./pictures/comparison.ts";
export { type CurveEvaluation, type CurveRow, drawCurves } from "./pictures/curves.ts";
export { drawKernels, type KernelImage, type KernelPoint } from "./pictures/kernels.ts";
export { drawLags, type LagRun } from "./pictures/lags.ts";
export { drawPositionHistogram, type LayerPositions } from "./pictures/histogram.ts";
export { drawPositionMap, type LayerMap } from "./pictures/map.ts";
