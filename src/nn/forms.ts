/** The layers' forms: all that tells one Dcls class from another. */
import type { LayerForm } from "../spec.ts";

/** The names of the Dcls classes. */
export type LayerName = "Dcls1d" | "Dcls2d" | "Dcls3d" | "Dcls2_1d" | "Dcls3_1d" | "Dcls2dK1d";

function form(
  name: LayerName,
  spatialAxes: LayerForm["spatialAxes"],
  denseAxes: number,
  positionAxes: number,
  gaussOffset: number,
): LayerForm {
  return { name, spatialAxes, denseAxes, positionAxes, gaussOffset };
}

/** The form of each class; the spread of a `gauss` element is at least 0.27 cells, 1 in `Dcls2_1d`, as in PyTorch. */
export const FORMS: Readonly<Record<LayerName, LayerForm>> = {
  Dcls1d: form("Dcls1d", 1, 0, 1, 0.27),
  Dcls2d: form("Dcls2d", 2, 0, 2, 0.27),
  Dcls3d: form("Dcls3d", 3, 0, 3, 0.27),
  Dcls2_1d: form("Dcls2_1d", 2, 1, 1, 1),
  Dcls3_1d: form("Dcls3_1d", 3, 2, 1, 0.27),
  Dcls2dK1d: form("Dcls2dK1d", 2, 0, 1, 0.27),
};
