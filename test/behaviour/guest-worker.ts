// A Worker that starts in a process whose managers exist already.

import type { Pointer } from "bun:ffi";
import { CudaMemoryManager, type PoolStats, setLogger } from "../../src/index.ts";

declare var self: Worker;

export interface GuestResult {
  warnings: string[];
  pointer: Pointer;
  stats: PoolStats;
}

self.onmessage = ({ data: gpu }: MessageEvent<number>) => {
  const warnings: string[] = [];
  setLogger({ info() {}, warn: (message) => void warnings.push(message), error() {} });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 512 } });
  const pointer = CudaMemoryManager.alloc(1000, gpu);
  postMessage({ warnings, pointer, stats: CudaMemoryManager.stats(gpu) } satisfies GuestResult);
};
