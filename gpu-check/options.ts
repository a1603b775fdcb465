import { parseArgs } from "node:util";
import {
  parseOrExplain,
  readRunOptions,
  type RunOptions,
  runOptionsConfig,
  usageText,
} from "../harness/run/options.ts";

export interface GpuCheckOptions extends RunOptions {
  /** Runs on the simulator: a rehearsal, whose figures mean nothing. */
  isRehearsal: boolean;
  /** Whether figures mean something: neither a rehearsal nor a quick run. */
  areFiguresJudged: boolean;
}

const defaultJsonPath = "build/gpu-check.json";

function usage(stepNames: readonly string[]): string {
  return usageText("gpu-check/main.ts", [
    ["--rehearsal", "run on the simulator, which a check never does otherwise"],
    ["--quick", "only show that everything runs: the figures mean nothing"],
    ["--only NAME", `a step, repeatable: ${stepNames.join(", ")}`],
    ["--json FILE", `where everything goes; ${defaultJsonPath} by default`],
  ]);
}

/** @throws {UsageError} */
export function parseGpuCheckOptions(
  argv: string[],
  stepNames: readonly string[],
): GpuCheckOptions {
  return parseOrExplain(usage(stepNames), () => {
    const { rehearsal, ...common } = parseArgs({
      args: argv,
      options: {
        ...runOptionsConfig(defaultJsonPath),
        rehearsal: { type: "boolean", default: false },
      },
    }).values;
    return {
      ...readRunOptions(common, stepNames),
      isRehearsal: rehearsal,
      areFiguresJudged: !rehearsal && !common.quick,
    };
  });
}
