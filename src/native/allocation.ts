import { memoryLibrary } from "./memory-library.ts";
import { memoryAllocation as at } from "./memory-symbols.ts";
import { owner } from "./owner.ts";
import type { NativeStream } from "./stream.ts";
import { newStruct } from "./struct.ts";

const { allocated_memory_free, allocated_memory_free_on_stream } = memoryLibrary;

/** A `struct memory_allocation`. */
export type NativeAllocation = Float64Array;

/** Makes room for a `struct memory_allocation`, for this thread to own. */
export function newAllocation(): NativeAllocation {
  const allocation = newStruct(at);
  allocation[at.owner] = owner;
  return allocation;
}

/**
 * Frees memory that this thread owns: at once, or where a stream is given when the stream has done
 * what it was given before. Returns a `memory_status`.
 */
export function freeAllocation(
  allocation: NativeAllocation,
  stream: NativeStream | null = null,
): number {
  if (stream !== null) return allocated_memory_free_on_stream(allocation, stream);
  return allocated_memory_free(
    allocation[at.address]!,
    allocation[at.place]!,
    allocation[at.origin]!,
  );
}
