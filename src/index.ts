/**
 * GPU memory pools for Bun servers: CUDA memory, pinned and system memory with fallback, after
 * NVIDIA Triton's memory layer.
 *
 * @module
 */
export {
  AllocatedMemory,
  type AllocatedMemoryOptions,
  type MemoryBuffer,
  type TransferOptions,
} from "./allocated-memory.ts";
export { copyBuffer, type CopyBufferOptions } from "./copy-buffer.ts";
export { CudaMemoryManager, type CudaMemoryManagerOptions } from "./cuda-memory-manager.ts";
export { CudaStream } from "./cuda-stream.ts";
export { getSupportedGpus, pointerAttributes, type PointerAttributes } from "./devices.ts";
export { type Logger, setLogger } from "./logger.ts";
export { MemoryError, type MemoryErrorCode } from "./memory-error.ts";
export { createMemoryManagers } from "./memory-managers.ts";
export { type MemoryOptions, parseMemoryOptions } from "./memory-options.ts";
export type { MemoryType } from "./memory-type.ts";
export {
  type PinnedAllocation,
  type PinnedAllocOptions,
  PinnedMemoryManager,
  type PinnedMemoryManagerOptions,
} from "./pinned-memory-manager.ts";
export type { PoolStats } from "./pool-stats.ts";
