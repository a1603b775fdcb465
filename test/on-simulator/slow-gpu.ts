// A simulated GPU that is slow on purpose, and small pools on two of them.

import { afterEach } from "bun:test";
import { CudaMemoryManager, PinnedMemoryManager } from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { isSimulated, resetAfterEach } from "../support/runtime.ts";

/** Leaves no manager, no message, no delay and no fault behind. */
export function resetSimulatorAfterEach(): void {
  resetAfterEach();
  afterEach(() => {
    if (!isSimulated) return;
    CudartSimulator.setDelay({});
    CudartSimulator.clearFaults();
  });
}

export const kibibyte = 1024;

/** Pinned memory of 1 MiB, and pools of this size on both GPUs. */
export function createManagers(cudaByteSize: number): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 1024 * kibibyte });
  CudaMemoryManager.create({ memoryPoolByteSize: { 0: cudaByteSize, 1: cudaByteSize } });
}

/** Longer than a busy machine delays a test, whose next step thus comes before the GPU is done. */
export const longMilliseconds = 400;

/** Makes every operation that is queued from now on take this long. */
export function slowly(milliseconds: number): void {
  CudartSimulator.setDelay({ operationNs: milliseconds * 1e6 });
}
