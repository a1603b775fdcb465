import { UsageError } from "./errors.ts";

/** The options that every run has. */
export interface RunOptions {
  /** The steps to run besides those that are always run; empty: all. */
  only: readonly string[];
  /** Measures only to show that everything runs: the figures mean nothing. */
  isQuick: boolean;
  /** Where the report goes. */
  jsonPath: string;
}

/** The options of every run, as `parseArgs()` of node:util takes them. */
export function runOptionsConfig(defaultJsonPath: string) {
  return {
    only: { type: "string", multiple: true, default: [] as string[] },
    quick: { type: "boolean", default: false },
    json: { type: "string", default: defaultJsonPath },
  } as const;
}

interface RunOptionValues {
  only: string[];
  quick: boolean;
  json: string;
}

/** @throws {Error} where `--only` names a step that there is not. */
export function readRunOptions(
  { only, quick, json }: RunOptionValues,
  stepNames: readonly string[],
): RunOptions {
  const unknown = only.find((name) => !stepNames.includes(name));
  if (unknown !== undefined) throw new Error(`there is no step "${unknown}"`);
  return { only, isQuick: quick, jsonPath: json };
}

/**
 * Parses the arguments of a program.
 *
 * @throws {UsageError} For whatever `parse` throws, with its message and the usage.
 */
export function parseOrExplain<Options>(usage: string, parse: () => Options): Options {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${usage}`);
  }
}

/** The usage of a program: a line for each option, with the explanations in a column. */
export function usageText(
  program: string,
  options: readonly (readonly [option: string, explanation: string])[],
): string {
  const width = Math.max(...options.map(([option]) => option.length));
  const lines = options.map(([option, explanation]) => `  ${option.padEnd(width)}  ${explanation}`);
  return [`usage: bun ${program} [OPTION]...`, "", ...lines].join("\n");
}
