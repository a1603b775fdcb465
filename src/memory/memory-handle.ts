import { checkDeviceId, invalidArgument, isWholeNumber } from "../arguments.ts";
import { type MemoryType, numberOfMemoryType } from "../native/memory-type.ts";

/**
 * What stands for a memory that was detached, until it is attached again: a plain object, for
 * `postMessage` to another thread of the process.
 */
export interface MemoryHandle {
  /** Stands for the memory; 0 for a memory of 0 bytes. */
  readonly id: number;
  /** The memory's bytes. */
  readonly byteSize: number;
  /** The kind of memory that it lies in. */
  readonly memoryType: MemoryType;
  /** The GPU's CUDA ordinal; 0 for host memory. */
  readonly memoryTypeId: number;
}

/** @throws {MemoryError} `INVALID_ARG` for what is no handle. */
export function checkHandle(operation: string, handle: unknown): asserts handle is MemoryHandle {
  if (typeof handle !== "object" || handle === null) {
    throw invalidArgument(operation, "handle", "what detach returned", handle);
  }
  const { id, byteSize, memoryType, memoryTypeId } = handle as Partial<MemoryHandle>;
  if (!isWholeNumber(id) || !isWholeNumber(byteSize) || numberOfMemoryType(memoryType) < 0) {
    throw invalidArgument(operation, "handle", "what detach returned", handle);
  }
  checkDeviceId(operation, memoryTypeId);
}
