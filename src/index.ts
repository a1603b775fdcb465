/**
 * GPU memory pools for Bun servers: CUDA memory, pinned and system memory with fallback, after
 * NVIDIA Triton's memory layer.
 *
 * @module
 */
export { AllocatedMemory } from "./memory/allocated-memory.ts";
export { type AccountStats, MemoryAccount } from "./accounts/memory-account.ts";
export type { AccountOption } from "./accounts/account-key.ts";
export type { AllocatedMemoryOptions, AllocateOptions } from "./memory/allocation-request.ts";
export type { MemoryFallback } from "./memory/memory-fallback.ts";
export type { MemoryHandle } from "./memory/memory-handle.ts";
export type { MemoryBuffer } from "./memory/memory-buffer.ts";
export { copyBuffer, type CopyBufferOptions } from "./memory/copy-buffer.ts";
export {
  CudaMemoryManager,
  type CudaMemoryManagerOptions,
} from "./managers/cuda-memory-manager.ts";
export { CudaStream, type FinishedOptions } from "./streams/cuda-stream.ts";
export { cudaStatus, type CudaStatus } from "./devices/cuda-status.ts";
export { type DeviceMemory, getDeviceMemory } from "./devices/device-memory.ts";
export { pointerAttributes, type PointerAttributes } from "./devices/pointer-attributes.ts";
export { getSupportedGpus } from "./devices/supported-gpus.ts";
export { type Logger, setLogger } from "./logger.ts";
export type {
  LeakMessage,
  MemoryCause,
  MemoryEvent,
  MemoryMessage,
  RequestMessage,
  StateMessage,
} from "./message-channel.ts";
export { MemoryError, type MemoryErrorCode, type MemoryErrorFigures } from "./memory-error.ts";
export {
  createMemoryManagers,
  type MemoryManagers,
  type MemoryPool,
} from "./managers/memory-managers.ts";
export type { MemoryPoolSize } from "./managers/pool-size.ts";
export { type MemoryOptions, parseMemoryOptions } from "./managers/memory-options.ts";
export { MemoryReference, type ReferencedBuffer } from "./memory/memory-reference.ts";
export { MutableMemory } from "./memory/mutable-memory.ts";
export type { BorrowedMemory } from "./memory/borrowed-memory.ts";
export type { ReadableOptions } from "./memory/memory-readable.ts";
export type { MemorySource, WriteFromOptions } from "./memory/memory-source.ts";
export type { TransferOptions } from "./memory/memory-transfer.ts";
export type { MemoryType } from "./native/memory-type.ts";
export {
  type PinnedAllocation,
  type PinnedAllocOptions,
  PinnedMemoryManager,
  type PinnedMemoryManagerOptions,
} from "./managers/pinned-memory-manager.ts";
export type { PinnedPoolStats, PoolStats } from "./managers/pool-stats.ts";
