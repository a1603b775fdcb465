import type { Pointer } from "bun:ffi";
import {
  checkBoolean,
  checkByteSize,
  checkOptions,
  checkPointer,
  checkRequest,
} from "../arguments.ts";
import { getSupportedGpus, noGpuReason } from "../devices/supported-gpus.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { collectDropped } from "../memory/collected-memory.ts";
import { detachHostViews } from "../memory/host-view.ts";
import { memoryTypes } from "../native/memory-type.ts";
import { reportFallback } from "../memory/request-report.ts";
import { newAllocation } from "../native/allocation.ts";
import { cudart } from "../native/cudart.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryTypeOf } from "../native/memory-place.ts";
import {
  memoryAllocation as at,
  memoryStatus,
  memoryTypeNumber,
} from "../native/memory-symbols.ts";
import { checkStatus, nativeError, nativeMessage, reportLostCuda } from "../native/status.ts";
import { type PinnedPoolStats, readPinnedPoolStats } from "./pool-stats.ts";

const {
  cuda_stream_check_all,
  pinned_memory_create,
  pinned_memory_alloc,
  pinned_memory_free,
  pinned_memory_stats,
  pinned_memory_reset,
} = memoryLibrary;

/** Bytes of the pinned memory pool by default, which are 256 MiB, as in Triton. */
export const defaultPinnedMemoryPoolByteSize = 268435456;

/** Options of {@link PinnedMemoryManager.create}. */
export interface PinnedMemoryManagerOptions {
  /** Bytes of the pool, rounded up to 512. 0 disables it. Default 268435456 (256 MiB). */
  pinnedMemoryPoolByteSize?: number | undefined;
}

/** Options of {@link PinnedMemoryManager.alloc}. */
export interface PinnedAllocOptions {
  /** Whether memory that is not pinned will do where the pool cannot serve. Default `true`. */
  allowNonpinnedFallback?: boolean | undefined;
}

/** What {@link PinnedMemoryManager.alloc} returns. */
export interface PinnedAllocation {
  /** The address, which is a multiple of 512. */
  pointer: Pointer;
  /** The kind of memory: `"CPU"` after a fallback to memory that is not pinned. */
  memoryType: "CPU_PINNED" | "CPU";
}

/**
 * Does what {@link PinnedMemoryManager.create} does. Returns false where there was a manager
 * before.
 *
 * @param nonpinnedLimitByteSize The most that non-pinned memory may take, until the manager is reset.
 */
export function createPinnedMemoryManager(
  options?: PinnedMemoryManagerOptions,
  nonpinnedLimitByteSize = Infinity,
): boolean {
  const operation = "PinnedMemoryManager.create";
  const { pinnedMemoryPoolByteSize: byteSize = defaultPinnedMemoryPoolByteSize } = checkOptions(
    operation,
    options,
    ["pinnedMemoryPoolByteSize"],
  );
  checkByteSize(operation, "pinnedMemoryPoolByteSize", byteSize);
  cudart(); // hands the native library the functions that it reserves memory with
  const deviceId = byteSize > 0 ? lowestSupportedGpu() : 0;
  const status = pinned_memory_create(byteSize, deviceId, nonpinnedLimitByteSize);
  if (status === memoryStatus.MEMORY_OK_WITH_WARNINGS)
    log.warn("pool", withReason(nativeMessage()));
  else if (status !== memoryStatus.MEMORY_OK) log.warn("pool", nativeMessage());
  else if (byteSize > 0) log.info("pool", `pinned memory pool of ${byteSize} bytes`);
  else log.info("pool", "no pinned memory pool");
  return status !== memoryStatus.MEMORY_ALREADY_EXISTS;
}

/** Adds to a message why there is no GPU to have pinned memory for. */
function withReason(message: string): string {
  try {
    const reason = noGpuReason();
    return reason === null ? message : `${message}: ${reason}`;
  } catch {
    return message; // it says already what CUDA fails with
  }
}

/** The GPU whose context pinned memory is of where no GPU has a pool. */
function lowestSupportedGpu(): number {
  try {
    return getSupportedGpus()[0] ?? 0;
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    log.warn("device", `the pinned memory pool is of the context of GPU 0: ${error.message}`);
    return 0;
  }
}

/** Where the native library puts the allocation that it has just made. */
const allocated = newAllocation();

/** @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be. */
function mayFallBack(operation: string, options: PinnedAllocOptions): boolean {
  const { allowNonpinnedFallback = true } = checkOptions(operation, options, [
    "allowNonpinnedFallback",
  ]);
  checkBoolean(operation, "allowNonpinnedFallback", allowNonpinnedFallback);
  return allowNonpinnedFallback;
}

/**
 * Page-locked host memory, which a GPU copies to and from at full speed, from one pool that is
 * reserved when the manager is created; and memory of the system heap where the pool cannot serve.
 * There is one manager per process, and all Workers share it. After Triton's
 * `PinnedMemoryManager`.
 *
 * @example
 * ```ts
 * PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 1024 ** 3 });
 * const { pointer, memoryType } = PinnedMemoryManager.alloc(1 << 20);
 * PinnedMemoryManager.free(pointer);
 * ```
 */
export class PinnedMemoryManager {
  private constructor() {}

  /**
   * Reserves the pool. Where there is no GPU, or not enough memory, it warns, and the manager
   * exists without a pool: every request falls back. A second call warns and changes nothing.
   *
   * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be.
   */
  static create(options?: PinnedMemoryManagerOptions): void {
    createPinnedMemoryManager(options);
  }

  /**
   * Allocates `byteSize` bytes in the pool; where that cannot serve, in the system heap, unless the
   * options forbid it. The first fallback of the process for each cause is warned about.
   *
   * @param byteSize Bytes, from 1. The pool rounds them up to a multiple of 512.
   * @throws {MemoryError} `INVALID_ARG` for a size that cannot be one; `UNAVAILABLE` before
   * {@link create}, and where there is no pool and nothing else is allowed; `OUT_OF_MEMORY` where
   * nothing that is allowed can serve the request.
   */
  static alloc(byteSize: number, options?: PinnedAllocOptions): PinnedAllocation {
    checkRequest("PinnedMemoryManager.alloc", byteSize);
    const mayFall = options === undefined || mayFallBack("PinnedMemoryManager.alloc", options);
    let status = pinned_memory_alloc(allocated, byteSize, mayFall ? 1 : 0);
    if (status === memoryStatus.MEMORY_COLLECT_FIRST) {
      collectDropped();
      status = pinned_memory_alloc(allocated, byteSize, mayFall ? 1 : 0);
    }
    if (status < memoryStatus.MEMORY_OK) throw nativeError(status);
    const allocation: PinnedAllocation = {
      pointer: allocated[at.address] as Pointer,
      memoryType: memoryTypes[memoryTypeOf(allocated[at.place]!)] as "CPU_PINNED" | "CPU",
    };
    if (status === memoryStatus.MEMORY_OK) reportLostCuda();
    else reportFallback(status, byteSize, memoryTypeNumber.MEMORY_CPU_PINNED);
    return allocation;
  }

  /**
   * Frees memory of the pool or of the system heap, wherever it came from.
   *
   * @throws {MemoryError} `INVALID_ARG` for a pointer that is not a live allocation; nothing is
   * freed then. `UNAVAILABLE` before {@link create}.
   */
  static free(pointer: Pointer): void {
    checkPointer("PinnedMemoryManager.free", pointer);
    checkStatus(pinned_memory_free(pointer));
  }

  /**
   * The statistics of the pool, whose figures are zero where the manager has none. Fallbacks are in
   * `nonpinnedByteSize`, and in none of the pool's figures.
   *
   * @throws {MemoryError} `UNAVAILABLE` before {@link create}.
   */
  static stats(): PinnedPoolStats {
    return readPinnedPoolStats((values) => checkStatus(pinned_memory_stats(values)));
  }

  /** Bytes that were really reserved; 0 where there is no pool. */
  static get totalByteSize(): number {
    return statsOrZeros().capacityByteSize;
  }

  /** Bytes of the pool in live allocations; 0 where there is no pool. */
  static get usedByteSize(): number {
    return statsOrZeros().usedByteSize;
  }

  /**
   * Frees all memory, the fallbacks among it; {@link create} may follow. Whatever was allocated is
   * gone and must not be touched any more; views of it in this thread have length 0 then. What others
   * still look at, or a promise holds, is set aside until nobody does.
   *
   * @throws {MemoryError} `UNSUPPORTED`, and nothing has changed, where a {@link CudaStream} is being
   * captured into a CUDA graph; `INTERNAL` where CUDA refuses to take the reservation back. It is not
   * lost: the next `reset` or {@link create} tries again.
   */
  static reset(): void {
    const checked = cuda_stream_check_all();
    const failure = checked < memoryStatus.MEMORY_OK ? nativeError(checked) : null;
    if (failure?.code === "UNSUPPORTED") throw failure; // before any view is emptied
    detachHostViews();
    checkStatus(pinned_memory_reset());
    if (failure !== null) throw failure;
  }
}

/**
 * The statistics, or zeros before {@link PinnedMemoryManager.create}, where the getters answer too.
 */
function statsOrZeros(): PinnedPoolStats {
  return readPinnedPoolStats((values) => void pinned_memory_stats(values));
}
