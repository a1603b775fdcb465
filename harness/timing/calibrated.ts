import type { Contestant } from "./rounds.ts";
import type { PairTimer } from "./pairs.ts";

/** Pairs of an allocation and a free that can be timed. */
export interface TimedPairs {
  figureName: string;
  /** After about as many pairs the caches hold what they will of it. */
  settlingPairCount: number;
  timePairs: PairTimer;
}

const faultsPerPairMax = 0.01;
/** A contestant that does not come to rest is measured all the same. */
const warmUpSliceCountMax = 160;

/**
 * Runs until new pages are rare: those allocators that write beside their blocks come to touch every
 * page of their heaps, and while they do the kernel is measured.
 */
function warmUp({ timePairs }: TimedPairs, sliceNanoseconds: number): number {
  const end = Bun.nanoseconds() + warmUpSliceCountMax * sliceNanoseconds;
  let pairCount = 64;
  for (;;) {
    const faultCount = process.resourceUsage().minorPageFault;
    const nanoseconds = timePairs(pairCount);
    const faultsPerPair = (process.resourceUsage().minorPageFault - faultCount) / pairCount;
    if (nanoseconds < sliceNanoseconds) pairCount *= 2;
    else if (faultsPerPair < faultsPerPairMax || Bun.nanoseconds() > end)
      return pairCount / nanoseconds;
  }
}

/** However long it takes to settle, a measurement lasts at most so many slices. */
const longSliceCount = 6;

/**
 * Warms up, and measures slices of about the same time from then on: longer ones where one slice
 * would be over before the caches have forgotten whoever ran before. Each begins unmeasured.
 */
export function calibrated(timed: TimedPairs, sliceNanoseconds: number): Contestant {
  const slicePairCount = Math.ceil(warmUp(timed, sliceNanoseconds) * sliceNanoseconds);
  const pairCount = Math.min(
    Math.max(slicePairCount, timed.settlingPairCount),
    longSliceCount * slicePairCount,
  );
  return {
    name: timed.figureName,
    measure() {
      timed.timePairs(Math.ceil(pairCount / 2));
      return timed.timePairs(pairCount) / pairCount;
    },
  };
}
