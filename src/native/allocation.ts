import { memoryLibrary } from "./memory-library.ts";
import { memoryAllocation as at } from "./memory-symbols.ts";
import type { NativeStream } from "./stream.ts";
import { newStruct } from "./struct.ts";

const { allocated_memory_free, allocated_memory_free_on_stream } = memoryLibrary;

/** The owner of memory that belongs to no thread in particular. */
export const processOwner = 0;

/** A `struct memory_allocation`. */
export type NativeAllocation = Float64Array;

/** Makes room for a `struct memory_allocation`. */
export function newAllocation(): NativeAllocation {
  return newStruct(at);
}

/**
 * Frees memory: at once, or where a stream is given when the stream has done what it was given
 * before. Returns a `memory_status`.
 */
export function freeAllocation(
  allocation: NativeAllocation,
  stream: NativeStream | null = null,
): number {
  if (stream !== null) return allocated_memory_free_on_stream(allocation, stream, processOwner);
  return allocated_memory_free(
    allocation[at.address]!,
    allocation[at.memory_type]!,
    allocation[at.device_id]!,
    allocation[at.generation]!,
    processOwner,
  );
}
