/**
 * `deno bench`: the poster's layer on WebGPU, op by op, in Deno's own tables; `deno task bench` does everything else
 * (limits, other shapes and backends, PyTorch, growth). Needs no permission.
 *
 * One iteration queues the op `repeats` times and waits once: a wait takes 10 to 12 ms under Deno, however short the
 * work. Each op is compared with float64 before it is registered.
 */
import { currentBackend } from "../src/backend.ts";
import { CASES, OPS } from "./cases.ts";
import { drawData, Subject } from "./subject.ts";
import { openWebgpu } from "./suite.ts";
import { TOLERANCE, verify } from "./verify.ts";

const webgpu = await openWebgpu();
if (!webgpu) {
  Deno.stderr.writeSync(new TextEncoder().encode("no WebGPU adapter answers: nothing to bench\n"));
} else {
  const { software, adapter } = webgpu.info, [poster] = CASES;
  const repeats = software ? 4 : 50;
  const data = drawData(poster, software ? poster.batch.cpu : poster.batch.gpu);
  const subject = await Subject.create(currentBackend("bench"), poster, "v0", data);
  for (const op of OPS) {
    const result = subject.run(op);
    const error = await verify(subject, op, await result.read());
    result.free();
    if (!(error <= TOLERANCE)) {
      throw new Error(`Cannot bench ${op}: it must be within ${TOLERANCE} of float64, got ${error}`);
    }
    Deno.bench({
      name: `${op}, batch ${data.batch}, ${repeats} times`,
      group: `${poster.name} on ${adapter}${software ? ", a SOFTWARE adapter" : ""}`,
      fn: async (bench) => {
        webgpu.adapter.warmUp();
        await subject.wait();
        bench.start();
        for (let i = 0; i < repeats; i++) subject.run(op).free();
        await subject.wait();
        bench.end();
      },
    });
  }
}
