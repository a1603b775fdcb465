import type { PairTimer } from "./pairs.ts";
import type { Contestant } from "./rounds.ts";

/** Pairs of an allocation and a free that can be timed. */
export interface TimedPairs {
  /** The row and the name of the contestant. */
  row: string;
  name: string;
  /** After about this many pairs the processor's caches have settled. */
  settlingPairCount: number;
  timePairs: PairTimer;
}

const faultsPerPairMax = 0.01;
/** After this many slices even a contestant that has not come to rest is measured. */
const warmUpSliceCountMax = 160;

/**
 * Runs until page faults are rare. Allocators that write beside their blocks touch every page of
 * their heaps sooner or later, and until then the kernel would be measured too.
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

/** A measurement lasts at most this many slices, however long it takes to settle. */
const longSliceCount = 6;

/**
 * Warms up, and makes a contestant whose measurements take about the same time. They are longer
 * where one slice would be over before the caches have forgotten the contestant before. The
 * beginning of each is not measured.
 */
export function calibrated(timed: TimedPairs, sliceNanoseconds: number): Contestant {
  const slicePairCount = Math.ceil(warmUp(timed, sliceNanoseconds) * sliceNanoseconds);
  const pairCount = Math.min(
    Math.max(slicePairCount, timed.settlingPairCount),
    longSliceCount * slicePairCount,
  );
  return {
    row: timed.row,
    name: timed.name,
    measure() {
      timed.timePairs(Math.ceil(pairCount / 2));
      return timed.timePairs(pairCount) / pairCount;
    },
  };
}
