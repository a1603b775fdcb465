import { parseArgs } from "node:util";
import type { Effort } from "./section.ts";

/** The process was not called properly. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export interface BenchOptions extends Effort {
  /** The sections to run; empty: all. */
  only: readonly string[];
  jsonPath: string;
  isStrict: boolean;
}

const defaultJsonPath = "build/bench.json";

function usage(sectionNames: readonly string[]): string {
  return [
    "usage: bun bench/main.ts [OPTION]...",
    "",
    `  --only NAME      a section, repeatable: ${sectionNames.join(", ")}`,
    "  --rounds N       rounds of each section that has rounds",
    "  --traces FOLDER  also pack every RMM log (.csv, .csv.gz) of a folder",
    `  --json FILE      where all figures go; ${defaultJsonPath} by default`,
    "  --strict         end with 1 where a limit is missed",
    "  --quick          only show that everything runs",
  ].join("\n");
}

function parse(argv: string[]) {
  return parseArgs({
    args: argv,
    options: {
      only: { type: "string", multiple: true, default: [] },
      rounds: { type: "string" },
      traces: { type: "string" },
      json: { type: "string", default: defaultJsonPath },
      strict: { type: "boolean", default: false },
      quick: { type: "boolean", default: false },
    },
  }).values;
}

function parseRoundCount(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (count === 0) throw new Error(`--rounds ${text}: expected a whole number from 1`);
  return count;
}

/** @throws {UsageError} */
export function parseBenchOptions(argv: string[], sectionNames: readonly string[]): BenchOptions {
  try {
    const { only, rounds, traces, json, strict, quick } = parse(argv);
    const unknown = only.find((name) => !sectionNames.includes(name));
    if (unknown !== undefined) throw new Error(`there is no section "${unknown}"`);
    return {
      only,
      roundCount: parseRoundCount(rounds),
      tracesFolder: traces,
      jsonPath: json,
      isStrict: strict,
      isQuick: quick,
    };
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${usage(sectionNames)}`);
  }
}
