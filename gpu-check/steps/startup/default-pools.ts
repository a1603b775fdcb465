import assert from "node:assert/strict";
import { CudaMemoryManager, getSupportedGpus, PinnedMemoryManager } from "../../../src/index.ts";
import { defaultCudaMemoryPoolByteSize } from "../../../src/managers/memory-managers.ts";
import { defaultPinnedMemoryPoolByteSize } from "../../../src/managers/pinned-memory-manager.ts";

/** Throws where a pool fell back to plain memory: the time of such a start means nothing. */
export function requireDefaultPools(): void {
  assert.equal(PinnedMemoryManager.totalByteSize, defaultPinnedMemoryPoolByteSize);
  for (const gpu of getSupportedGpus()) {
    assert.equal(CudaMemoryManager.stats(gpu).capacityByteSize, defaultCudaMemoryPoolByteSize);
  }
}
