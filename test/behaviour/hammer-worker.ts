// A Worker that allocates and frees at random, and marks every granule that it holds in a table
// that all Workers share.

import type { Pointer } from "bun:ffi";
import { CudaMemoryManager, MemoryError, PinnedMemoryManager } from "../../src/index.ts";

declare var self: Worker;

export interface HammerTask {
  id: number;
  kind: "GPU" | "CPU_PINNED";
  gpu: number;
  /** The address of the pool's first granule. */
  base: number;
  /** An Int32 per granule: the id of the Worker that holds it, or 0. */
  owners: SharedArrayBuffer;
  stepCount: number;
}

export interface HammerResult {
  conflictCount: number;
  allocationCount: number;
  refusalCount: number;
}

interface Block {
  pointer: Pointer;
  firstGranule: number;
  granuleCount: number;
}

function hammer({ id, kind, gpu, base, owners, stepCount }: HammerTask): HammerResult {
  const table = new Int32Array(owners);
  const live: Block[] = [];
  const result: HammerResult = { conflictCount: 0, allocationCount: 0, refusalCount: 0 };
  let state = id * 2654435761;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const mark = (block: Block, from: number, to: number) => {
    for (let i = 0; i < block.granuleCount; i++) {
      const found = Atomics.compareExchange(table, block.firstGranule + i, from, to);
      if (found !== from) result.conflictCount++;
    }
  };
  const allocate = () => {
    const granuleCount = 1 + random(64);
    const byteSize = granuleCount * 512 - random(512);
    const pointer =
      kind === "GPU"
        ? CudaMemoryManager.alloc(byteSize, gpu)
        : PinnedMemoryManager.alloc(byteSize, { allowNonpinnedFallback: false }).pointer;
    const block = { pointer, firstGranule: (pointer - base) / 512, granuleCount };
    mark(block, 0, id);
    live.push(block);
    result.allocationCount++;
  };
  const free = () => {
    const [block] = live.splice(random(live.length), 1);
    mark(block!, id, 0);
    if (kind === "GPU") CudaMemoryManager.free(block!.pointer, gpu);
    else PinnedMemoryManager.free(block!.pointer);
  };
  for (let step = 0; step < stepCount; step++) {
    if (live.length > 0 && random(100) < 45) {
      free();
      continue;
    }
    try {
      allocate();
    } catch (error) {
      if (!(error instanceof MemoryError) || error.code !== "OUT_OF_MEMORY") throw error;
      result.refusalCount++;
      while (live.length > 20) free();
    }
  }
  while (live.length > 0) free();
  return result;
}

self.onmessage = ({ data }: MessageEvent<HammerTask>) => postMessage(hammer(data));
