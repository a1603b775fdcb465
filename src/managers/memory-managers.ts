import {
  checkBoolean,
  checkByteSize,
  checkComputeCapability,
  checkOptions,
  checkRecordByGpu,
} from "../arguments.ts";
import {
  defaultMinComputeCapability,
  getSupportedGpus,
  gpuCount,
  noGpuReason,
  unsupportedReason,
} from "../devices/supported-gpus.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { fallbackNumberOf, setDefaultFallback } from "../memory/memory-fallback.ts";
import type { MemoryType } from "../native/memory-type.ts";
import {
  createCudaPools,
  CudaMemoryManager,
  type CudaPoolsOutcome,
  poolByteSizeOf,
} from "./cuda-memory-manager.ts";
import { memoryOptionNames, type MemoryOptions } from "./memory-options.ts";
import { enablePeerAccess } from "./peer-access.ts";
import { checkPoolSize, isPool, type MemoryPoolSize } from "./pool-size.ts";
import {
  createPinnedMemoryManager,
  defaultPinnedMemoryPoolByteSize,
  PinnedMemoryManager,
} from "./pinned-memory-manager.ts";

/** Bytes of each supported GPU's pool by default, which are 64 MiB, as in Triton. */
export const defaultCudaMemoryPoolByteSize = 67108864;

/** Adds the default size of every supported GPU that is not among the named ones. */
function withDefaults(named: ReadonlyMap<number, MemoryPoolSize>, minComputeCapability: number) {
  const sizes = new Map<number, MemoryPoolSize>();
  for (const deviceId of getSupportedGpus(minComputeCapability)) {
    sizes.set(deviceId, defaultCudaMemoryPoolByteSize);
  }
  for (const [deviceId, size] of named) sizes.set(deviceId, size);
  return sizes;
}

/** Says why no GPU has a pool, where that is nobody's wish: every supported one gets one. */
function warnOfNoSupportedGpus(minComputeCapability: number): void {
  if (getSupportedGpus(minComputeCapability).length > 0) return;
  const reason =
    noGpuReason() ??
    Array.from({ length: gpuCount() }, (_, deviceId) => deviceId)
      .map((deviceId) => `GPU ${deviceId}: ${unsupportedReason(deviceId, minComputeCapability)}`)
      .join("; ");
  log.warn("pool", `no CUDA memory pools: ${reason}`);
}

/** A pool as it was really reserved. */
export interface MemoryPool {
  /** `"GPU"`, or `"CPU_PINNED"`. */
  readonly memoryType: MemoryType;
  /** The GPU's CUDA ordinal; 0 for host memory. */
  readonly memoryTypeId: number;
  /** Bytes. */
  readonly byteSize: number;
}

/** What {@link createMemoryManagers} returns. */
export interface MemoryManagers extends Disposable {
  /**
   * The pools that there are when this is read, GPUs' first: after a {@link CudaMemoryManager.resize}
   * as it has made them, and after a reset none.
   */
  readonly pools: readonly MemoryPool[];
  /**
   * Resets the managers that the call has made, once. What fails is logged, so that it hides no other
   * error.
   */
  [Symbol.dispose](): void;
}

/** The managers of one call. */
class CreatedManagers implements MemoryManagers {
  readonly #gpus: readonly number[];
  #resets: (() => void)[];

  /** @param gpus All that could have a pool. */
  constructor(gpus: readonly number[], resets: (() => void)[]) {
    this.#gpus = gpus;
    this.#resets = resets;
  }

  get pools(): readonly MemoryPool[] {
    return existingPools(this.#gpus);
  }

  [Symbol.dispose](): void {
    for (const reset of this.#resets.splice(0)) {
      try {
        reset();
      } catch (error) {
        log.error("unreleased", `failed to reset a memory manager: ${(error as Error).message}`);
      }
    }
  }
}

/** What the options ask for, checked. */
interface WantedPools {
  /** The size of each GPU's pool that the options name. */
  readonly named: ReadonlyMap<number, MemoryPoolSize>;
  readonly pinnedByteSize: number;
  readonly nonpinnedLimitByteSize: number | undefined;
  readonly minComputeCapability: number;
  readonly isPeerAccessWanted: boolean;
}

/** Creates the CUDA memory manager, or returns the error where that fails. */
function tryToCreateCudaPools({
  named,
  minComputeCapability,
  isPeerAccessWanted,
}: WantedPools): CudaPoolsOutcome & { error?: MemoryError } {
  try {
    if (named.size === 0) warnOfNoSupportedGpus(minComputeCapability);
    const sizes = withDefaults(named, minComputeCapability);
    return createCudaPools({ sizes, minComputeCapability, isPeerAccessWanted, goesOn: true });
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    return { isNew: false, problems: [error.message], error };
  }
}

/** The pools of all GPUs that could have one, and of pinned memory. */
function existingPools(gpus: readonly number[]): MemoryPool[] {
  const pools = gpus.map((deviceId) => ({
    memoryType: "GPU" as MemoryType,
    memoryTypeId: deviceId,
    byteSize: poolByteSizeOf(deviceId),
  }));
  const byteSize = PinnedMemoryManager.totalByteSize;
  return [...pools, { memoryType: "CPU_PINNED" as const, memoryTypeId: 0, byteSize }].filter(
    (pool) => pool.byteSize > 0,
  );
}

/** The pools that have to be there and are not, in words. */
function missingPools(
  { named, pinnedByteSize }: WantedPools,
  gpus: readonly number[],
  pools: readonly MemoryPool[],
): string[] {
  const has = (memoryType: MemoryType, memoryTypeId: number) =>
    pools.some((pool) => pool.memoryType === memoryType && pool.memoryTypeId === memoryTypeId);
  const namedGpus = [...named].filter(([, size]) => isPool(size)).map(([gpu]) => gpu);
  const missing = (named.size > 0 ? namedGpus : gpus)
    .filter((gpu) => !has("GPU", gpu))
    .map((gpu) => `the pool of GPU ${gpu}`);
  if (pinnedByteSize > 0 && gpus.length > 0 && !has("CPU_PINNED", 0)) {
    missing.push("the pinned pool");
  }
  return missing;
}

/**
 * Starts the memory layer as Triton does: a CUDA memory pool on every supported GPU, of the size that
 * the options name or else 67108864 bytes (64 MiB), access of the GPUs with pools to each other's
 * memory (a failure is warned about), and the pinned memory pool. A GPU that is named but absent or
 * unsupported is warned about. A GPU whose pool cannot be made is an error in the log and costs no
 * other GPU its pool: requests for its memory fall back to system memory.
 *
 * A share such as `"80%"` is of the memory that CUDA has on the GPU, rounded down to whole 512 bytes.
 * Where less is free, the pool cannot be made: the error has the bytes that it takes and those that
 * are free. CUDA itself takes some hundreds of megabytes, so that 100% can never be had.
 *
 * With `nonpinnedMemoryLimitByteSize` a request for non-pinned memory that would be over the limit is
 * one that nothing can serve, until the managers are reset.
 *
 * With `required` it throws instead, and nothing stays. Required are the pools that the options name
 * with a size, or where they name none those of every supported GPU; and the pinned pool, unless its
 * size is 0. A machine without a GPU passes, unless a GPU is named.
 *
 * @returns A disposable that resets the managers which the call has made, once, and says which pools
 * there are. Managers that existed before the call are left to whoever made them.
 * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be, before
 * anything is touched; with `required` `UNAVAILABLE` where a pool is missing, and `DEVICE_LOST` where
 * CUDA has failed for good.
 *
 * @example
 * ```ts
 * // In a server the managers live as long as the process.
 * createMemoryManagers(parseMemoryOptions(process.argv.slice(2)));
 *
 * // In a program that ends, or a test, they can live as long as a scope.
 * using managers = createMemoryManagers({ pinnedMemoryPoolByteSize: 1 << 20 });
 * ```
 */
export function createMemoryManagers(options?: MemoryOptions): MemoryManagers {
  const operation = "createMemoryManagers";
  const {
    cudaMemoryPoolByteSize,
    pinnedMemoryPoolByteSize = defaultPinnedMemoryPoolByteSize,
    minSupportedComputeCapability = defaultMinComputeCapability,
    enablePeerAccess: isPeerAccessWanted = true,
    required = false,
    nonpinnedMemoryLimitByteSize,
    fallback,
  } = checkOptions(operation, options, memoryOptionNames);
  const named = checkRecordByGpu(
    operation,
    "cudaMemoryPoolByteSize",
    cudaMemoryPoolByteSize,
    checkPoolSize,
  );
  checkByteSize(operation, "pinnedMemoryPoolByteSize", pinnedMemoryPoolByteSize);
  checkComputeCapability(operation, "minSupportedComputeCapability", minSupportedComputeCapability);
  checkBoolean(operation, "enablePeerAccess", isPeerAccessWanted);
  checkBoolean(operation, "required", required);
  if (nonpinnedMemoryLimitByteSize !== undefined) {
    checkByteSize(operation, "nonpinnedMemoryLimitByteSize", nonpinnedMemoryLimitByteSize);
  }
  if (fallback !== undefined) fallbackNumberOf(operation, fallback);
  const wanted: WantedPools = {
    named,
    pinnedByteSize: pinnedMemoryPoolByteSize,
    nonpinnedLimitByteSize: nonpinnedMemoryLimitByteSize,
    minComputeCapability: minSupportedComputeCapability,
    isPeerAccessWanted,
  };
  const resets: (() => void)[] = [];
  if (fallback !== undefined) {
    setDefaultFallback(fallback);
    resets.push(() => setDefaultFallback("system"));
  }
  return createWanted(wanted, required, resets);
}

/** @param resets What disposing of the managers is to do first. */
function createWanted(
  wanted: WantedPools,
  isRequired: boolean,
  resets: (() => void)[],
): MemoryManagers {
  const cuda = tryToCreateCudaPools(wanted);
  if (cuda.isNew) resets.push(() => CudaMemoryManager.reset());
  const gpus = supportedGpus(wanted.minComputeCapability);
  const gpusWithPools = gpus.filter((gpu) => poolByteSizeOf(gpu) > 0);
  if (wanted.isPeerAccessWanted) enablePeerAccess(gpusWithPools);
  // Pinned memory is of the context of a GPU that has a pool, so it comes after those.
  const pinned = { pinnedMemoryPoolByteSize: wanted.pinnedByteSize };
  if (createPinnedMemoryManager(pinned, wanted.nonpinnedLimitByteSize)) {
    resets.push(() => PinnedMemoryManager.reset());
  }
  const managers = new CreatedManagers(gpus, resets);
  const missing = isRequired ? missingPools(wanted, gpus, managers.pools) : [];
  if (!isRequired || (missing.length === 0 && cuda.error === undefined)) {
    logProblems(cuda);
    return managers;
  }
  managers[Symbol.dispose]();
  const subject =
    missing.length > 0 ? `${missing.join(", ")} cannot be had` : "no pools can be had";
  const reason = cuda.problems.join("; ") || "the log says why";
  const isLost = cuda.error?.code === "DEVICE_LOST";
  throw new MemoryError(
    isLost ? "DEVICE_LOST" : "UNAVAILABLE",
    `createMemoryManagers: ${subject}, which is required: ${reason}`,
    cuda.error,
  );
}

/** What is thrown in their place is not logged. */
function logProblems({ problems, error }: CudaPoolsOutcome & { error?: MemoryError }): void {
  if (error !== undefined) log.error("pool", `there are no CUDA memory pools: ${error.message}`);
  else for (const problem of problems) log.error("pool", problem);
}

/** The supported GPUs; none where CUDA fails to count them. */
function supportedGpus(minComputeCapability: number): number[] {
  try {
    return getSupportedGpus(minComputeCapability);
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    log.error("device", `no GPU is made ready: ${error.message}`);
    return [];
  }
}
