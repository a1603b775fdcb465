// A Worker that allocates and frees at random on an account that all Workers share.

import { AllocatedMemory, MemoryAccount, MemoryError } from "../../src/index.ts";

declare var self: Worker;

export interface AccountTask {
  id: number;
  name: string;
  gpu: number;
  stepCount: number;
}

export interface AccountResult {
  allocationCount: number;
  allocatedByteSize: number;
  refusalCount: number;
  /** How often more than the limit was in use. */
  overLimitCount: number;
}

function allocateAtRandom({ id, name, gpu, stepCount }: AccountTask): AccountResult {
  const account = MemoryAccount.of(name);
  const result = { allocationCount: 0, allocatedByteSize: 0, refusalCount: 0, overLimitCount: 0 };
  const live: AllocatedMemory[] = [];
  let state = (id + 1) * 2654435761;
  const random = (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let step = 0; step < stepCount; step++) {
    if (live.length > 0 && random(100) < 45) {
      live.splice(random(live.length), 1)[0]!.free();
      continue;
    }
    const granuleCount = 1 + random(16);
    const type = random(4) === 0 ? "CPU_PINNED" : "GPU";
    try {
      live.push(
        new AllocatedMemory(granuleCount * 512, type, type === "GPU" ? gpu : 0, { account }),
      );
      result.allocationCount++;
      result.allocatedByteSize += granuleCount * 512;
    } catch (error) {
      if (!(error instanceof MemoryError) || error.code !== "OUT_OF_MEMORY") throw error;
      result.refusalCount++;
    }
    if (step % 64 === 0 && account.stats().usedByteSize > account.limitByteSize) {
      result.overLimitCount++;
    }
  }
  for (const memory of live) memory.free();
  return result;
}

self.onmessage = ({ data }: MessageEvent<AccountTask>) => postMessage(allocateAtRandom(data));
