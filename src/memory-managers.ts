import {
  checkByteSize,
  checkComputeCapability,
  checkOptions,
  checkPoolByteSizes,
} from "./arguments.ts";
import { CudaMemoryManager } from "./cuda-memory-manager.ts";
import { defaultMinComputeCapability, getSupportedGpus } from "./devices.ts";
import { log } from "./logger.ts";
import { MemoryError } from "./memory-error.ts";
import type { MemoryOptions } from "./memory-options.ts";
import { defaultPinnedMemoryPoolByteSize, PinnedMemoryManager } from "./pinned-memory-manager.ts";

/** Bytes of each supported GPU's pool by default: 64 MiB, as in Triton. */
export const defaultCudaMemoryPoolByteSize = 67108864;

/** What was named, and the default size for every supported GPU that was not. */
function withDefaults(named: Map<number, number>, minComputeCapability: number) {
  const byteSizes: Record<number, number> = {};
  for (const deviceId of getSupportedGpus(minComputeCapability)) {
    byteSizes[deviceId] = defaultCudaMemoryPoolByteSize;
  }
  return { ...byteSizes, ...Object.fromEntries(named) };
}

function createCudaMemoryManager(named: Map<number, number>, minComputeCapability: number): void {
  try {
    CudaMemoryManager.create({
      minSupportedComputeCapability: minComputeCapability,
      memoryPoolByteSize: withDefaults(named, minComputeCapability),
    });
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    log.error(`the server starts without CUDA memory pools: ${error.message}`);
  }
}

/** Both, although the first may throw. */
function resetMemoryManagers(): void {
  try {
    CudaMemoryManager.reset();
  } finally {
    PinnedMemoryManager.reset();
  }
}

/**
 * Starts the memory layer as Triton does: the pinned memory pool, then a CUDA memory pool on every
 * supported GPU, of the size that the options name or else 67108864 bytes (64 MiB). A GPU that is
 * named but absent or unsupported is warned about. Where a CUDA pool cannot be made, an error is
 * logged and the server starts without CUDA pools: requests fall back to system memory.
 *
 * @returns A disposable that resets both managers.
 * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be, before
 * anything is touched. Disposing throws as the managers' `reset` does.
 *
 * @example
 * ```ts
 * using managers = createMemoryManagers(parseMemoryOptions(process.argv.slice(2)));
 * ```
 */
export function createMemoryManagers(options?: MemoryOptions): Disposable {
  const operation = "createMemoryManagers";
  checkOptions(operation, options);
  const named = checkPoolByteSizes(
    operation,
    "cudaMemoryPoolByteSize",
    options?.cudaMemoryPoolByteSize,
  );
  const pinnedMemoryPoolByteSize =
    options?.pinnedMemoryPoolByteSize ?? defaultPinnedMemoryPoolByteSize;
  checkByteSize(operation, "pinnedMemoryPoolByteSize", pinnedMemoryPoolByteSize);
  const minComputeCapability =
    options?.minSupportedComputeCapability ?? defaultMinComputeCapability;
  checkComputeCapability(operation, "minSupportedComputeCapability", minComputeCapability);

  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize });
  createCudaMemoryManager(named, minComputeCapability);
  return { [Symbol.dispose]: resetMemoryManagers };
}
