/** Where published weights are, for those who have none yet. */
import { modelName } from "../../models/mod.ts";

const DCLS = "https://zenodo.org/record/7112021/files";
const GAUSS = "https://zenodo.org/record/8029747/files";
const CONVNEXT = "https://dl.fbaipublicfiles.com/convnext";

/** By the models' names; as linked by https://github.com/K-H-Ismail/ConvNeXt-dcls and /DCLS-Audio. */
export const PUBLISHED: Readonly<Record<string, string>> = {
  "convnext-dcls-tiny": `${DCLS}/convnext_dcls_tiny_1k_224_ema.pth`,
  "convnext-dcls-small": `${DCLS}/convnext_dcls_small_1k_224_ema.pth`,
  "convnext-dcls-base": `${DCLS}/convnext_dcls_base_1k_224_ema.pth`,
  "convnext-dcls-gauss-tiny": `${GAUSS}/convnext_dcls_gauss_tiny_1k_224_ema.pth`,
  "convnext-tiny": `${CONVNEXT}/convnext_tiny_1k_224_ema.pth`,
  "convnext-small": `${CONVNEXT}/convnext_small_1k_224_ema.pth`,
  "convnext-base": `${CONVNEXT}/convnext_base_1k_224_ema.pth`,
};

/** What to say where no weights are given. Models at random name nothing. */
export function whereWeightsAre(model: string): string[] {
  const name = model === "auto" ? "convnext-dcls-tiny" : modelName(model);
  const width = Math.max(...Object.keys(PUBLISHED).map(({ length }) => length));
  return [
    "Cannot classify: --weights must be a file of trained weights, got none. The authors publish them",
    "(https://github.com/K-H-Ismail/ConvNeXt-dcls):",
    "",
    ...Object.entries(PUBLISHED).map(([name, address]) => `  ${name.padEnd(width)}  ${address}`),
    "",
    `Download one and go on with: deno task classify image.jpg --weights ${
      PUBLISHED[name].split("/").at(-1)
    }`,
  ];
}
