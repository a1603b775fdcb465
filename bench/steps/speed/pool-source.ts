import { CudaMemoryManager } from "bun-cuda-memory";
import type { Pointer } from "bun:ffi";
import type { BlockSource } from "../../../harness/workloads/blocks.ts";

/** The GPU whose pool is measured. */
export const deviceId = 0;

/** Makes the pool, which all threads share. */
export function createPool(byteSize: number): void {
  CudaMemoryManager.create({ memoryPoolByteSize: { [deviceId]: byteSize } });
}

/** The pool's blocks, as a user of the package gets them. */
export const poolSource: BlockSource = {
  alloc: (byteSize) => CudaMemoryManager.alloc(byteSize, deviceId),
  free(address) {
    CudaMemoryManager.free(address as Pointer, deviceId);
  },
};
