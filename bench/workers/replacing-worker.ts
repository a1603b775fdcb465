import { CudaMemoryManager } from "bun-cuda-memory";
import type { Pointer } from "bun:ffi";
import { fill, replacementSequence } from "../replacement.ts";
import { type BlockSource, type LiveBlocks, timeReplacement } from "../speed/pairs.ts";

// A Worker that replaces blocks of the pool that all threads share: one after the other, as many
// lots of live blocks as it is told to have.

/** The first message. */
export interface WorkerOrder {
  /** A seed for each lot. */
  seeds: number[];
  liveBlockCount: number;
}

/** Every other message. */
export interface ReplaceOrder {
  pairCountPerLot: number;
}

declare const self: Worker;

const deviceId = 0;
const sequenceLength = 2 ** 14;

const source: BlockSource = {
  alloc: (byteSize) => CudaMemoryManager.alloc(byteSize, deviceId),
  free(address) {
    CudaMemoryManager.free(address as Pointer, deviceId);
  },
};

let lots: LiveBlocks[] | undefined;

self.onmessage = ({ data }: MessageEvent<WorkerOrder | ReplaceOrder>) => {
  if ("seeds" in data) {
    const { liveBlockCount } = data;
    lots = data.seeds.map((seed) =>
      fill(source, liveBlockCount, replacementSequence(liveBlockCount, sequenceLength, seed)),
    );
  } else {
    for (const lot of lots!) timeReplacement(source, lot, data.pairCountPerLot);
  }
  self.postMessage("done");
};
