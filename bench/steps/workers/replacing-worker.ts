import { ownPairs } from "../../../harness/timing/own-pairs.ts";
import type { PairTimer } from "../../../harness/timing/pairs.ts";
import { fill, replacementSequence } from "../../../harness/workloads/replacement.ts";
import { poolSource } from "../speed/pool-source.ts";

// A Worker that replaces blocks of the pool that all threads share. It has as many lots of live
// blocks as it is told to have, and does one lot after the other.

/** The first message to the Worker. */
export interface WorkerOrder {
  /** A seed for each lot. */
  seeds: number[];
  liveBlockCount: number;
}

/** Every other message to the Worker. */
export interface ReplaceOrder {
  pairCountPerLot: number;
}

declare const self: Worker;

const sequenceLength = 2 ** 14;

let lots: PairTimer[] | undefined;

async function makeLot(seed: number, liveBlockCount: number): Promise<PairTimer> {
  const { replacementTimer } = await ownPairs();
  const sequence = replacementSequence(liveBlockCount, sequenceLength, seed);
  return replacementTimer(poolSource, fill(poolSource, liveBlockCount, sequence));
}

self.onmessage = async ({ data }: MessageEvent<WorkerOrder | ReplaceOrder>) => {
  if ("seeds" in data) {
    const { liveBlockCount } = data;
    lots = await Promise.all(data.seeds.map((seed) => makeLot(seed, liveBlockCount)));
  } else {
    for (const timePairs of lots!) timePairs(data.pairCountPerLot);
  }
  self.postMessage("done");
};
