import { type Contestant, orderOfRound } from "../rounds.ts";
import { prepareContestants, type TimedPairs } from "./contestants.ts";
import type { WorkloadAnswer, WorkloadOrder } from "./workloads.ts";

// The process of one workload: prepares it, then measures a round whenever it is asked.

function answer(message: WorkloadAnswer): void {
  process.send!(message);
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
function calibrated(timed: TimedPairs, sliceNanoseconds: number): Contestant {
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

async function prepare({ workload, sliceNanoseconds }: WorkloadOrder): Promise<Contestant[]> {
  const { timed, notes } = await prepareContestants(workload);
  const prepared = timed.map((pairs) => calibrated(pairs, sliceNanoseconds));
  answer({ kind: "ready", notes });
  return prepared;
}

async function measureRound(contestants: readonly Contestant[], round: number): Promise<void> {
  const figures: Record<string, number> = {};
  for (const { name, measure } of orderOfRound(contestants, round)) figures[name] = await measure();
  answer({ kind: "round", figures });
}

let contestants: Contestant[] | undefined;
let round = 0;

// The first message is the order, every other one asks for a round.
process.on("message", async (message: unknown) => {
  try {
    if (contestants === undefined) contestants = await prepare(message as WorkloadOrder);
    else await measureRound(contestants, round++);
  } catch (error) {
    answer({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
});
