/**
 * A process of its own: from nothing to one image's logits by ConvNeXt-T-dcls, or to the end of one training step.
 * Its caller takes the time; it prints the most memory that it held, in bytes.
 *
 * Arguments: height and width of the image; `inference` or `training step`.
 * @module
 */
import process from "node:process";
import { init, noGrad, randn, shutdown, tensor, tidy } from "../mod.ts";
import { convnextDclsTiny } from "../src/models/mod.ts";
import { crossEntropy } from "../src/nn/mod.ts";
import { AdamW, parameterGroups } from "../src/optim/mod.ts";
import { say } from "../src/tasks/terminal.ts";

const [image, task] = [Number(Deno.args[0]), Deno.args[1]];
await init();
const model = convnextDclsTiny({ seed: 1 });
if (task === "inference") model.eval();
const x = randn([1, 3, image, image], { seed: 7 });
let values: Float32Array;
if (task === "inference") {
  const logits = tidy(() => noGrad(() => model.forward(x)));
  values = await logits.data();
} else {
  const optimizer = new AdamW(parameterGroups(model, { learningRate: 1e-4 }));
  tidy(() => crossEntropy(model.forward(x), tensor([3], [1])).backward());
  optimizer.step();
  values = await model.head.weight.data();
}
if (!values.every(Number.isFinite)) throw new Error(`Cannot end ${task}: every value must be finite`);
shutdown();
say(String(1024 * process.resourceUsage().maxRSS));
