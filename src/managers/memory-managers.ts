import {
  checkBoolean,
  checkByteSize,
  checkComputeCapability,
  checkOptions,
  checkPoolByteSizes,
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
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { nativeMessages } from "../native/status.ts";
import { createCudaMemoryManager, CudaMemoryManager } from "./cuda-memory-manager.ts";
import { memoryOptionNames, type MemoryOptions } from "./memory-options.ts";
import {
  createPinnedMemoryManager,
  defaultPinnedMemoryPoolByteSize,
  PinnedMemoryManager,
} from "./pinned-memory-manager.ts";

/** Bytes of each supported GPU's pool by default, which are 64 MiB, as in Triton. */
export const defaultCudaMemoryPoolByteSize = 67108864;

/** Adds the default size of every supported GPU that is not among the named ones. */
function withDefaults(named: Map<number, number>, minComputeCapability: number) {
  const byteSizes: Record<number, number> = {};
  for (const deviceId of getSupportedGpus(minComputeCapability)) {
    byteSizes[deviceId] = defaultCudaMemoryPoolByteSize;
  }
  return { ...byteSizes, ...Object.fromEntries(named) };
}

/** Says why no GPU has a pool, where that is nobody's wish: every supported one gets one. */
function warnOfNoSupportedGpus(minComputeCapability: number): void {
  if (getSupportedGpus(minComputeCapability).length > 0) return;
  const reason =
    noGpuReason() ??
    Array.from({ length: gpuCount() }, (_, deviceId) => deviceId)
      .map((deviceId) => `GPU ${deviceId}: ${unsupportedReason(deviceId, minComputeCapability)}`)
      .join("; ");
  log.warn(`no CUDA memory pools: ${reason}`);
}

/**
 * Creates the CUDA memory manager, or logs an error where that fails. Returns false where there was
 * a manager before.
 */
function tryToCreateCudaPools(
  named: Map<number, number>,
  minComputeCapability: number,
  isPeerAccessWanted: boolean,
): boolean {
  try {
    if (named.size === 0) warnOfNoSupportedGpus(minComputeCapability);
    if (isPeerAccessWanted) enablePeerAccess(getSupportedGpus(minComputeCapability));
    return createCudaMemoryManager({
      minSupportedComputeCapability: minComputeCapability,
      memoryPoolByteSize: withDefaults(named, minComputeCapability),
    });
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    log.error(`the server starts without CUDA memory pools: ${error.message}`);
    return true;
  }
}

/**
 * Lets the GPUs use each other's memory. Where that fails, copies between them take a longer way.
 */
function enablePeerAccess(deviceIds: readonly number[]): void {
  if (deviceIds.length < 2) return;
  const status = memoryLibrary.peer_access_enable(Float64Array.from(deviceIds), deviceIds.length);
  if (status !== memoryStatus.MEMORY_OK) nativeMessages().forEach(log.warn);
}

/** Resets the managers that one call has created, once. */
class MemoryManagers implements Disposable {
  #resets: (() => void)[];

  constructor(resets: (() => void)[]) {
    this.#resets = resets;
  }

  [Symbol.dispose](): void {
    const errors: unknown[] = [];
    for (const reset of this.#resets.splice(0)) {
      try {
        reset();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

/**
 * Starts the memory layer as Triton does: the pinned memory pool, access of the supported GPUs to
 * each other's memory (a failure is warned about), then a CUDA memory pool on every supported GPU,
 * of the size that the options name or else 67108864 bytes (64 MiB). A GPU that is named but absent
 * or unsupported is warned about. Where a CUDA pool cannot be made, an error is logged and the
 * server starts without CUDA pools: requests fall back to system memory.
 *
 * @returns A disposable that resets both managers, once; managers that existed before the call are
 * left to whoever made them.
 * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be, before
 * anything is touched. Disposing throws as the managers' `reset` does.
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
export function createMemoryManagers(options?: MemoryOptions): Disposable {
  const operation = "createMemoryManagers";
  const {
    cudaMemoryPoolByteSize,
    pinnedMemoryPoolByteSize = defaultPinnedMemoryPoolByteSize,
    minSupportedComputeCapability: minComputeCapability = defaultMinComputeCapability,
    enablePeerAccess: isPeerAccessWanted = true,
    required = false,
  } = checkOptions(operation, options, memoryOptionNames);
  const named = checkPoolByteSizes(operation, "cudaMemoryPoolByteSize", cudaMemoryPoolByteSize);
  checkByteSize(operation, "pinnedMemoryPoolByteSize", pinnedMemoryPoolByteSize);
  checkComputeCapability(operation, "minSupportedComputeCapability", minComputeCapability);
  checkBoolean(operation, "enablePeerAccess", isPeerAccessWanted);
  checkBoolean(operation, "required", required);

  const resets: (() => void)[] = [];
  if (createPinnedMemoryManager({ pinnedMemoryPoolByteSize })) {
    resets.push(() => PinnedMemoryManager.reset());
  }
  if (tryToCreateCudaPools(named, minComputeCapability, isPeerAccessWanted)) {
    resets.push(() => CudaMemoryManager.reset());
  }
  return new MemoryManagers(resets);
}
