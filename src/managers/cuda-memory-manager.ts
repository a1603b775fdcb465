import type { Pointer } from "bun:ffi";
import {
  checkByteSize,
  checkComputeCapability,
  checkDeviceId,
  checkOptions,
  checkPointer,
  checkRecordByGpu,
  checkRequest,
  isDeviceId,
  isWholeNumber,
} from "../arguments.ts";
import {
  checkSupported,
  defaultMinComputeCapability,
  getSupportedGpus,
  gpuCountMax,
  unsupportedReason,
} from "../devices/supported-gpus.ts";
import { log } from "../logger.ts";
import { checkNotLost } from "../native/cuda-error.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { cudaMemorySettings as settingsAt, memoryStatus } from "../native/memory-symbols.ts";
import {
  checkStatus,
  nativeError,
  nativeMessage,
  nativeMessages,
  reportLostCuda,
} from "../native/status.ts";
import { newStruct } from "../native/struct.ts";
import { enablePeerAccess } from "./peer-access.ts";
import { describePoolSize, isPool, type MemoryPoolSize, nativePoolSize } from "./pool-size.ts";
import { type PoolStats, readPoolStats } from "./pool-stats.ts";

const {
  cuda_memory_create,
  cuda_memory_read_settings,
  cuda_memory_resize,
  cuda_memory_alloc,
  cuda_memory_free,
  cuda_memory_stats,
  cuda_memory_reset,
} = memoryLibrary;

/** Options of {@link CudaMemoryManager.create}. */
export interface CudaMemoryManagerOptions {
  /** GPUs below this compute capability get no pool. Default 6.0. */
  minSupportedComputeCapability?: number | undefined;
  /** Bytes of each GPU's pool, by CUDA ordinal. A GPU that is not named, or has 0, gets none. */
  memoryPoolByteSize?: Readonly<Record<number, number>> | undefined;
}

/** Leaves out the GPUs that are to have no pool, and with a warning those that cannot have one. */
function poolsToMake(sizes: ReadonlyMap<number, MemoryPoolSize>, minComputeCapability: number) {
  const wanted = [...sizes].filter(([, size]) => isPool(size));
  if (wanted.length === 0) return [];
  const supported = new Set(getSupportedGpus(minComputeCapability));
  for (const [deviceId, size] of wanted) {
    if (supported.has(deviceId)) continue;
    log.warn(
      "pool",
      `no CUDA memory pool of ${describePoolSize(size)} on GPU ${deviceId}: ` +
        `${unsupportedReason(deviceId, minComputeCapability)}; supported GPUs: ` +
        ([...supported].join(", ") || "none"),
    );
  }
  return wanted.filter(([deviceId]) => supported.has(deviceId));
}

/** How the manager is made, checked. */
export interface CudaPoolsRequest {
  /** The size of each GPU's pool. */
  readonly sizes: ReadonlyMap<number, MemoryPoolSize>;
  /** GPUs below this compute capability get no pool. */
  readonly minComputeCapability: number;
  /** Whether a pool that is made later may be used by other GPUs that have pools. */
  readonly isPeerAccessWanted: boolean;
  /** Whether a pool that cannot be made costs no other, and is told among the {@link CudaPoolsOutcome.problems}. */
  readonly goesOn: boolean;
}

/** What became of a request for pools. */
export interface CudaPoolsOutcome {
  /** Whether there is a new manager; false where there was one before. */
  readonly isNew: boolean;
  /** Why pools could not be made, a sentence each. None was logged: that is the caller's. */
  readonly problems: readonly string[];
}

/** Makes the CUDA memory manager. Throws what {@link CudaMemoryManager.create} throws. */
export function createCudaPools({
  sizes,
  minComputeCapability,
  isPeerAccessWanted,
  goesOn,
}: CudaPoolsRequest): CudaPoolsOutcome {
  const settings = newStruct(settingsAt);
  settings[settingsAt.goes_on] = goesOn ? 1 : 0;
  settings[settingsAt.min_compute_capability] = minComputeCapability;
  settings[settingsAt.enables_peer_access] = isPeerAccessWanted ? 1 : 0;
  const pools = poolsToMake(sizes, minComputeCapability);
  const status = cuda_memory_create(
    Float64Array.from([...pools.map(([deviceId]) => deviceId), 0]),
    Float64Array.from([...pools.map(([, size]) => nativePoolSize(size)), 0]),
    pools.length,
    settings,
  );
  if (status === memoryStatus.MEMORY_ALREADY_EXISTS) {
    log.warn("pool", nativeMessage());
    return { isNew: false, problems: [] };
  }
  const problems = status === memoryStatus.MEMORY_OK_WITH_WARNINGS ? nativeMessages() : [];
  checkStatus(status);
  for (const [deviceId] of pools) {
    const byteSize = poolByteSizeOf(deviceId);
    if (byteSize > 0) log.info("pool", `CUDA memory pool of ${byteSize} bytes on GPU ${deviceId}`);
  }
  if (pools.length === 0) log.info("pool", "CUDA memory pools are disabled");
  return { isNew: true, problems };
}

/** The size of a GPU's pool; 0 where it has none. */
export function poolByteSizeOf(deviceId: number): number {
  return readPoolStats((values) => void cuda_memory_stats(deviceId, values)).capacityByteSize;
}

/** The GPUs among the first so many that have pools. */
function gpusWithPools(count: number): number[] {
  return Array.from({ length: count }, (_, id) => id).filter((id) => poolByteSizeOf(id) > 0);
}

/**
 * Memory of the GPUs, from one fixed pool per GPU that is reserved when the manager is created and
 * never grows. There is one manager per process, and all Workers share it: every method may be
 * called from any thread. After Triton's `CudaMemoryManager`.
 *
 * @example
 * ```ts
 * CudaMemoryManager.create({ memoryPoolByteSize: { 0: 64 * 1024 ** 2 } });
 * const pointer = CudaMemoryManager.alloc(4096, 0);
 * CudaMemoryManager.free(pointer, 0);
 * ```
 */
export class CudaMemoryManager {
  private constructor() {}

  /**
   * Reserves a pool on each supported GPU that the options name with a size above 0. Sizes are
   * rounded up to 512 bytes. GPUs that are named but absent or unsupported are warned about. With
   * no pool to make, the manager exists with pools disabled. A second call warns and changes
   * nothing.
   *
   * All or nothing: where one reservation fails, none stays, and a later call may succeed.
   *
   * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be, before
   * anything is touched; `INTERNAL` where a reservation fails; `DEVICE_LOST` where CUDA has failed
   * for good.
   */
  static create(options?: CudaMemoryManagerOptions): void {
    const operation = "CudaMemoryManager.create";
    const {
      minSupportedComputeCapability: minComputeCapability = defaultMinComputeCapability,
      memoryPoolByteSize,
    } = checkOptions(operation, options, ["minSupportedComputeCapability", "memoryPoolByteSize"]);
    checkComputeCapability(operation, "minSupportedComputeCapability", minComputeCapability);
    const sizes = checkRecordByGpu(
      operation,
      "memoryPoolByteSize",
      memoryPoolByteSize,
      checkByteSize,
    );
    createCudaPools({ sizes, minComputeCapability, isPeerAccessWanted: false, goesOn: false });
  }

  /**
   * Allocates `byteSize` bytes in a GPU's pool. The address is a multiple of 512 and must not be
   * dereferenced on the host. The calling thread's current CUDA device stays as it is.
   *
   * @param byteSize Bytes, from 1. The pool rounds them up to a multiple of 512.
   * @param deviceId The GPU's CUDA ordinal.
   * @throws {MemoryError} `INVALID_ARG` for a size or an ordinal that cannot be one; `UNAVAILABLE`
   * before {@link create} and where this GPU has no pool; `OUT_OF_MEMORY` where the pool cannot serve
   * the request, with its free bytes and its largest free block; `DEVICE_LOST` where CUDA has failed
   * for good.
   */
  static alloc(byteSize: number, deviceId: number): Pointer {
    if (!isWholeNumber(byteSize) || byteSize === 0 || !isDeviceId(deviceId)) {
      checkRequest("CudaMemoryManager.alloc", byteSize);
      checkDeviceId("CudaMemoryManager.alloc", deviceId);
    }
    const address = cuda_memory_alloc(byteSize, deviceId);
    if (address <= 0) throw nativeError(address);
    return address as Pointer;
  }

  /**
   * Frees memory of a GPU's pool.
   *
   * @throws {MemoryError} `INVALID_ARG` for a pointer that is not a live allocation of this GPU's
   * pool: one that was freed already, lies inside a block, is another GPU's or was never
   * allocated. Nothing is freed then. `UNAVAILABLE` before {@link create} and where this GPU has no
   * pool.
   */
  static free(pointer: Pointer, deviceId: number): void {
    if (!isWholeNumber(pointer) || (pointer as number) === 0 || !isDeviceId(deviceId)) {
      checkPointer("CudaMemoryManager.free", pointer);
      checkDeviceId("CudaMemoryManager.free", deviceId);
    }
    const status = cuda_memory_free(pointer, deviceId);
    if (status !== memoryStatus.MEMORY_OK) checkStatus(status);
  }

  /**
   * The statistics of a GPU's pool.
   *
   * @throws {MemoryError} `INVALID_ARG` for an ordinal that cannot be one; `UNAVAILABLE` before
   * {@link create} and where this GPU has no pool.
   */
  static stats(deviceId: number): PoolStats {
    checkDeviceId("CudaMemoryManager.stats", deviceId);
    const stats = readPoolStats((values) => checkStatus(cuda_memory_stats(deviceId, values)));
    reportLostCuda();
    return stats;
  }

  /**
   * Gives a GPU a pool of another size, a first one, or none, while nothing of its pool lives; other
   * GPUs go on as they are. What threads have left behind that ended, and what streams have done with,
   * is taken back first. Whatever lives else keeps the pool as it is: memory that is detached, that a
   * stream still uses or a promise holds, or that was dropped and not found yet. Pools of before a
   * {@link reset} that are set aside are no part of it.
   *
   * The new memory is reserved before that of the pool is given back, so that requests of other threads
   * meanwhile find a pool. Only where the GPU has no room for both, and has it once the pool is given
   * back, that comes first: then requests find no pool for a moment, and if the new one cannot be
   * reserved even so, the old one is again. Where another process has taken its memory meanwhile, the
   * error says that the GPU has no pool any more.
   *
   * A first pool may be used by the other GPUs that have pools, and they may be by it, as
   * {@link createMemoryManagers} was told. Where CUDA refuses to take the old memory back, the pool has
   * its new size all the same, with a warning, and the memory is tried again with the next `resize`,
   * {@link stats} or `reset`.
   *
   * @param deviceId The GPU's CUDA ordinal.
   * @param byteSize Bytes, rounded up to a multiple of 512; 0 for no pool.
   * @throws {MemoryError} `INVALID_ARG` for an ordinal or a size that cannot be one. `UNAVAILABLE`, and
   * nothing has changed, while memory of the pool lives, before {@link create}, and for a GPU that is
   * absent or unsupported. `INTERNAL` where CUDA fails; where the new memory cannot be reserved, the
   * message has what is free. `DEVICE_LOST` where CUDA has failed for good.
   *
   * @example
   * ```ts
   * // Another model needs the GPU for itself now.
   * CudaMemoryManager.resize(0, 0);
   * ```
   */
  static resize(deviceId: number, byteSize: number): void {
    const operation = "CudaMemoryManager.resize";
    checkDeviceId(operation, deviceId);
    checkByteSize(operation, "byteSize", byteSize);
    checkNotLost(`resize the CUDA memory pool of GPU ${deviceId}`);
    const settings = newStruct(settingsAt);
    checkStatus(cuda_memory_read_settings(settings));
    checkSupported(operation, deviceId, settings[settingsAt.min_compute_capability]!);
    const byteSizeBefore = poolByteSizeOf(deviceId);
    const status = cuda_memory_resize(deviceId, byteSize);
    if (status === memoryStatus.MEMORY_OK_WITH_WARNINGS) {
      for (const message of nativeMessages()) log.warn("unreleased", message);
    }
    checkStatus(status);
    const byteSizeNow = poolByteSizeOf(deviceId);
    log.info(
      "pool",
      `CUDA memory pool of ${byteSizeNow} bytes on GPU ${deviceId}, of ${byteSizeBefore} before`,
    );
    const isFirst = byteSizeBefore === 0 && byteSizeNow > 0;
    if (!isFirst || settings[settingsAt.enables_peer_access] === 0) return;
    enablePeerAccess(gpusWithPools(gpuCountMax));
  }

  /**
   * Frees all GPU memory; {@link create} may follow. Whatever was allocated is gone: an
   * {@link AllocatedMemory} that outlives the reset frees nothing, least of all a later pool's
   * memory. A pool of which a promise still holds memory ({@link AllocatedMemory.holdUntil}) is set
   * aside until that is over. Without a manager it does nothing.
   *
   * @throws {MemoryError} `UNSUPPORTED`, and nothing has changed, where a {@link CudaStream} is being
   * captured into a CUDA graph; `INTERNAL` where CUDA refuses to take a reservation back. It is not
   * lost: the next `reset` or {@link create} tries again.
   */
  static reset(): void {
    checkStatus(cuda_memory_reset());
  }
}
