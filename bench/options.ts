import { parseArgs } from "node:util";
import {
  parseOrExplain,
  readRunOptions,
  type RunOptions,
  runOptionsConfig,
  usageText,
} from "../harness/run/options.ts";

export interface BenchOptions extends RunOptions {
  /** Rounds of each step; undefined for the step's own choice. */
  roundCount: number | undefined;
  /** A folder of RMM logs to pack. */
  tracesFolder: string | undefined;
  /** Whether a missed limit makes the exit code 1. */
  isStrict: boolean;
}

const defaultJsonPath = "build/bench.json";

function usage(stepNames: readonly string[]): string {
  return usageText("bench/main.ts", [
    ["--only NAME", `a step, repeatable: ${stepNames.join(", ")}`],
    ["--rounds N", "rounds of each step that has rounds"],
    ["--traces FOLDER", "also pack every RMM log (.csv, .csv.gz) of a folder"],
    ["--json FILE", `where all figures go; ${defaultJsonPath} by default`],
    ["--strict", "end with 1 where a limit is missed"],
    ["--quick", "only show that everything runs"],
  ]);
}

function parseRoundCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count === 0) throw new Error(`--rounds ${text}: expected a whole number from 1`);
  return count;
}

/** @throws {UsageError} */
export function parseBenchOptions(argv: string[], stepNames: readonly string[]): BenchOptions {
  return parseOrExplain(usage(stepNames), () => {
    const { rounds, traces, strict, ...common } = parseArgs({
      args: argv,
      options: {
        ...runOptionsConfig(defaultJsonPath),
        rounds: { type: "string" },
        traces: { type: "string" },
        strict: { type: "boolean", default: false },
      },
    }).values;
    return {
      ...readRunOptions(common, stepNames),
      roundCount: parseRoundCount(rounds),
      tracesFolder: traces,
      isStrict: strict,
    };
  });
}
