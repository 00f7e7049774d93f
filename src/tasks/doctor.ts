/**
 * `deno task doctor`: what this machine offers to the module, and whether it computes right.
 * @module
 */
import { defineCommand, type ParsedCommand, runCommand } from "../train/cli.ts";
import { type BackendReport, type DoctorReport, examine, EXAMINED } from "./doctor/examine.ts";
import { formatBytes, formatSeconds, say } from "./terminal.ts";

const options = [
  {
    name: "backend",
    type: "choice",
    choices: ["all", ...EXAMINED],
    default: "all",
    description: "What to examine.",
  },
  { name: "json", type: "boolean", description: "Print everything as one JSON object." },
] as const;

/** The command line of `deno task doctor`. */
export const doctorCommand = defineCommand({
  name: "deno task doctor",
  summary:
    "Says which backends work here, on which adapter, with which features and limits, and compares one layer on " +
    "each with the float64 reference. Exit status 0 where a backend works and none that starts is wrong, else 1.",
  options,
  examples: [
    { line: "deno task doctor", does: "WebGPU and tfjs" },
    { line: "deno task doctor --backend webgpu", does: "WebGPU alone: fails where no adapter answers" },
  ],
});

/** One backend in words. */
function describeBackend(backend: BackendReport): string[] {
  const { name, available, adapter, software, features, limits, selfCheck, problem, advice } = backend;
  const kind = name === "tfjs"
    ? `${adapter} engine, on the CPU`
    : `${adapter}${software ? ", on the CPU" : ""}`;
  const lines = [`${name.padEnd(8)} ${available ? kind : "not available"}`];
  const add = (label: string, text: string): void => void lines.push(`  ${label.padEnd(11)} ${text}`);
  if (software && name === "webgpu") {
    add("note", "a software adapter: right numbers, a small part of a GPU's speed");
  }
  const granted = Object.entries(features).map(([feature, has]) => `${feature} ${has ? "yes" : "no"}`);
  if (granted.length > 0) add("features", granted.join(", "));
  for (const [limit, value] of Object.entries(limits)) {
    add("limit", `${limit} ${/bytes|size/i.test(limit) && value >= 2 ** 20 ? formatBytes(value) : value}`);
  }
  if (selfCheck?.passed) {
    const { largestError, tensor, tolerance, seconds } = selfCheck;
    add(
      "self-check",
      `passed: largest error ${largestError.toExponential(1)} (${tensor}), allowed ${tolerance}; ${
        formatSeconds(seconds)
      }`,
    );
  }
  if (problem) add("problem", problem);
  if (advice) add("advice", advice);
  return lines;
}

/** The report as text. */
export function describeReport({ module, versions, system, backends, auto, ok }: DoctorReport): string[] {
  const { total, available, process } = system.memory;
  return [
    `module   ${module.name} ${module.version}`,
    `runtime  Deno ${versions.deno}, V8 ${versions.v8}, TypeScript ${versions.typescript}`,
    `system   ${system.target}, release ${system.release}, ${system.cores} cores`,
    `memory   ${formatBytes(total)}, ${formatBytes(available)} of it free, ${
      formatBytes(process)
    } in this process`,
    ...backends.flatMap((backend) => ["", ...describeBackend(backend)]),
    "",
    ...auto === null ? [] : [`init() takes ${auto} here`],
    !ok
      ? "something is wrong: see problem and advice above"
      : backends.some(({ advice }) => advice !== null)
      ? "it works; see the advice above"
      : "all is well",
  ];
}

async function main({ values }: ParsedCommand<typeof options>): Promise<number> {
  const report = await examine(values.backend === "all" ? EXAMINED : [values.backend]);
  if (values.json) say(JSON.stringify(report, null, 2));
  else for (const line of describeReport(report)) say(line);
  return report.ok ? 0 : 1;
}

if (import.meta.main) await runCommand(doctorCommand, main);
