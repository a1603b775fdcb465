import { AllocatedMemory, checkRange, locationOf } from "./allocated-memory.ts";
import { checkByteSize, checkOptions, invalidArgument, isWholeNumber } from "./arguments.ts";
import { checkStatus, memoryLibrary } from "./native/memory-library.ts";

const { allocated_memory_copy } = memoryLibrary;

/** Options of {@link copyBuffer}; offsets and sizes are in bytes. */
export interface CopyBufferOptions {
  /** Where in the target the bytes go. Default 0. */
  targetOffset?: number;
  /** Where in the source the bytes come from. Default 0. */
  sourceOffset?: number;
  /** How many bytes. Default: all that the source has from `sourceOffset` on. */
  byteSize?: number;
}

/**
 * Copies bytes between any two memories, of any types and devices. After Triton's `CopyBuffer`.
 *
 * @returns Whether the copy was queued and the caller has to wait for it: `false`, the bytes are in
 * place when it returns.
 * @throws {MemoryError} `INVALID_ARG` where either memory has not that many bytes, before a byte
 * moves; `UNAVAILABLE` where a memory's manager was reset; `INTERNAL` where CUDA fails.
 *
 * @example
 * ```ts
 * using staging = new AllocatedMemory(1 << 20, "CPU_PINNED");
 * using tensor = new AllocatedMemory(8 << 20, "GPU");
 * copyBuffer(tensor, staging, { targetOffset: 3 << 20 });
 * ```
 */
export function copyBuffer(
  target: AllocatedMemory,
  source: AllocatedMemory,
  options?: CopyBufferOptions,
): boolean {
  for (const [name, memory] of Object.entries({ target, source })) {
    if (!(memory instanceof AllocatedMemory)) {
      throw invalidArgument("copyBuffer", name, "an AllocatedMemory", memory);
    }
  }
  checkOptions("copyBuffer", options);
  const targetOffset = options?.targetOffset ?? 0;
  const sourceOffset = options?.sourceOffset ?? 0;
  const rest = isWholeNumber(sourceOffset) ? Math.max(0, source.totalByteSize - sourceOffset) : 0;
  const byteSize = options?.byteSize ?? rest;
  checkByteSize("copyBuffer", "byteSize", byteSize);
  checkRange("copyBuffer: source", source.totalByteSize, sourceOffset, byteSize);
  checkRange("copyBuffer: target", target.totalByteSize, targetOffset, byteSize);
  if (byteSize === 0) return false;
  checkStatus(
    allocated_memory_copy(
      locationOf(target),
      targetOffset,
      locationOf(source),
      sourceOffset,
      byteSize,
    ),
  );
  return false;
}
