import { PinnedMemoryManager } from "bun-cuda-memory";
import type { Model, Place } from "./engine/engine.ts";

// Where a request's tensors wait for the engine. Small ones of a GPU's model wait in pinned memory, and
// those of a batch go to the GPU and come back together: the GPU is waited for once for all of them.
// Each waiting for copies of its own would take longer than all that is computed.

/** The most bytes that all tensors of such a request have together. */
export const stagedByteSizeMax = 256 * 1024;

/** Where the tensors of a request are to lie, which have so many bytes together. */
export function placeOf(model: Model, byteSize: number): Place {
  const isStaged =
    model.memoryType === "GPU" &&
    byteSize <= Math.min(stagedByteSizeMax, PinnedMemoryManager.totalByteSize);
  return isStaged ? { memoryType: "CPU_PINNED", memoryTypeId: 0 } : model;
}
