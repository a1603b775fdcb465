import type { StormOptions } from "./options.ts";
import { Random, seedOf } from "./random.ts";

/** The simulated GPUs: two that can have pools, one that is too old, and a small one. */
export const simulatedDevices = "8.0:268435456,9.0:1073741824,5.2:268435456,8.6:25165824";
export const gpus = [0, 1] as const;
export const oldGpu = 2;
/**
 * A GPU of which memory is had no longer than for one operation: its pool is unused again and again, so
 * that it can be resized. It has no room for two large ones.
 */
export const smallGpu = 3;
export const gpusWithPools = [...gpus, smallGpu] as const;

/**
 * What happens in one round: Workers live and end, and at its end all is as it was at its start.
 * Each follows from the seed of the storm and its number, so it can be repeated alone.
 */
export interface RoundPlan {
  readonly number: number;
  readonly seed: number;
  readonly threadCount: number;
  /** How many Workers each thread is, one after the other. */
  readonly lifeCount: number;
  /** Whether any thread may reset and create the managers at any time. */
  readonly hasResets: boolean;
  /** Whether calls and operations of CUDA fail. */
  readonly hasFaults: boolean;
  readonly without: readonly string[];
  readonly breaking: readonly string[];
}

export function planOf(options: StormOptions, number: number): RoundPlan {
  const { threadCount, without, breaking } = options;
  const seed = seedOf(options.seed, number);
  const random = new Random(seed);
  return {
    number,
    seed,
    threadCount,
    lifeCount: random.between(1, 3),
    hasResets: random.chance(0.5) && !without.includes("reset"),
    hasFaults: random.chance(0.3),
    without,
    breaking,
  };
}

/** Sizes of pools, small enough to be full often. */
export function drawPools(random: Random): {
  cuda: Record<number, number>;
  pinnedByteSize: number;
} {
  const size = () => (random.chance(0.1) ? 0 : 512 * random.byteSize(64, 32768));
  const cuda = Object.fromEntries(gpusWithPools.map((gpu) => [gpu, size()]));
  return { cuda, pinnedByteSize: random.chance(0.1) ? 0 : 512 * random.byteSize(128, 65536) };
}
