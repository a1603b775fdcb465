import { UsageError } from "../harness/run/errors.ts";

/** What the storm is told by its environment, and passes on to the processes in which it blows. */
export interface StormOptions {
  /** How long it blows; a round that has begun is finished. */
  readonly seconds: number;
  readonly seed: number;
  /** How many Workers there are at a time. */
  readonly threadCount: number;
  /** The first round, for one that has failed to be repeated alone. */
  readonly firstRound: number;
  /** How many rounds there are at most. */
  readonly roundCount: number;
  /** Operations that are left out. */
  readonly without: readonly string[];
  /** Operations that break something on purpose, to see the storm notice. */
  readonly breaking: readonly string[];
  /** The longest time without an event. */
  readonly stallSeconds: number;
}

const usage = `usage: [NAME=VALUE]... make storm
  STORM_SECONDS=60     how long
  STORM_SEED=N         what fixes every operation; by default another each time
  STORM_THREADS=4      how many Workers
  STORM_ROUND=0        the first round
  STORM_ROUNDS=N       how many rounds at most
  STORM_WITHOUT=A,B    operations to leave out
  STORM_BREAK=A,B      operations that break something on purpose
  STORM_STALL=60       how many seconds without an event are a hang`;

/** The most Workers that there is room for in the log of events. */
export const threadCountMax = 15;

function wholeNumber(name: string, fallback: number, min: number, max: number): number {
  const text = process.env[name] || String(fallback);
  const value = Number(text);
  // Infinity is what some fall back to, and nobody else may ask for.
  if (text !== String(fallback) && !/^\d+$/.test(text)) {
    throw new UsageError(`${name}: expected a whole number, got "${text}"\n${usage}`);
  }
  if (value < min || value > max) {
    throw new UsageError(`${name}: expected ${min} to ${max}, got ${text}\n${usage}`);
  }
  return value;
}

function names(name: string, known: readonly string[]): string[] {
  const given = (process.env[name] ?? "").split(",").filter((text) => text !== "");
  const unknown = given.find((text) => !known.includes(text));
  if (unknown !== undefined) {
    throw new UsageError(
      `${name}: there is no operation "${unknown}"; there are ${known.join(", ")}\n${usage}`,
    );
  }
  return given;
}

/**
 * Reads the options from the environment.
 *
 * @throws {UsageError}
 */
export function readStormOptions(
  operations: readonly string[],
  breakingOperations: readonly string[],
): StormOptions {
  const anySeed = crypto.getRandomValues(new Uint32Array(1))[0]!;
  return {
    seconds: wholeNumber("STORM_SECONDS", 60, 1, 1e9),
    seed: wholeNumber("STORM_SEED", anySeed, 0, 2 ** 32 - 1),
    threadCount: wholeNumber("STORM_THREADS", 4, 1, threadCountMax),
    firstRound: wholeNumber("STORM_ROUND", 0, 0, 1e9),
    roundCount: wholeNumber("STORM_ROUNDS", Infinity, 1, Infinity),
    without: names("STORM_WITHOUT", operations),
    breaking: names("STORM_BREAK", breakingOperations),
    stallSeconds: wholeNumber("STORM_STALL", 60, 1, 1e9),
  };
}

/** The command that repeats a storm from one of its rounds on. */
export function commandOf(options: StormOptions, round: number): string {
  const words = [
    `STORM_SEED=${options.seed}`,
    `STORM_THREADS=${options.threadCount}`,
    `STORM_ROUND=${round}`,
    `STORM_SECONDS=${options.seconds}`,
  ];
  if (Number.isFinite(options.roundCount)) words.push(`STORM_ROUNDS=${options.roundCount}`);
  if (options.without.length > 0) words.push(`STORM_WITHOUT=${options.without.join(",")}`);
  if (options.breaking.length > 0) words.push(`STORM_BREAK=${options.breaking.join(",")}`);
  return [...words, "make storm"].join(" ");
}
