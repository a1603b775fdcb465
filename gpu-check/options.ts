import { parseArgs } from "node:util";
import { UsageError } from "../bench/options.ts";

export interface GpuCheckOptions {
  /** Runs on the simulator: a rehearsal, whose figures mean nothing. */
  isRehearsal: boolean;
  /** Measures only to show that everything runs: the figures mean nothing. */
  isQuick: boolean;
  /** Whether figures mean something: neither of the two. */
  areFiguresJudged: boolean;
  /** The steps to run besides those that are always run; empty: all. */
  only: readonly string[];
  jsonPath: string;
}

const defaultJsonPath = "build/gpu-check.json";

function usage(stepNames: readonly string[]): string {
  return [
    "usage: bun gpu-check/main.ts [OPTION]...",
    "",
    "  --rehearsal  run on the simulator, which a check never does otherwise",
    "  --quick      only show that everything runs: the figures mean nothing",
    `  --only NAME  a step, repeatable: ${stepNames.join(", ")}`,
    `  --json FILE  where everything goes; ${defaultJsonPath} by default`,
  ].join("\n");
}

/** @throws {UsageError} */
export function parseGpuCheckOptions(
  argv: string[],
  stepNames: readonly string[],
): GpuCheckOptions {
  try {
    const { rehearsal, quick, only, json } = parseArgs({
      args: argv,
      options: {
        rehearsal: { type: "boolean", default: false },
        quick: { type: "boolean", default: false },
        only: { type: "string", multiple: true, default: [] },
        json: { type: "string", default: defaultJsonPath },
      },
    }).values;
    const unknown = only.find((name) => !stepNames.includes(name));
    if (unknown !== undefined) throw new Error(`there is no step "${unknown}"`);
    return {
      isRehearsal: rehearsal,
      isQuick: quick,
      areFiguresJudged: !rehearsal && !quick,
      only,
      jsonPath: json,
    };
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${usage(stepNames)}`);
  }
}
