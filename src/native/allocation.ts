import { memoryLibrary } from "./memory-library.ts";
import { memoryAllocation as at, memoryStatus } from "./memory-symbols.ts";
import { owner } from "./owner.ts";
import { tellServed } from "./served-requests.ts";
import { joinStreams, type NativeStream } from "./stream.ts";
import { newStruct } from "./struct.ts";

const { allocated_memory_free, allocated_memory_free_on_streams } = memoryLibrary;

/** A `struct memory_allocation`. */
export type NativeAllocation = Float64Array;

/** Makes room for a `struct memory_allocation`, for this thread to own. */
export function newAllocation(): NativeAllocation {
  const allocation = newStruct(at);
  allocation[at.owner] = owner;
  return allocation;
}

/** Whether somebody else owns the memory. */
export function isBorrowed(allocation: NativeAllocation): boolean {
  return allocation[at.origin]! < 0;
}

/**
 * Frees memory that this thread owns: at once, or where streams are given when all of them have done
 * what they were given before. Returns a `memory_status`, of which threads have been told where
 * requests of theirs were served.
 */
export function freeAllocation(
  allocation: NativeAllocation,
  streams: readonly NativeStream[] = [],
): number {
  const { address, place, origin } = at;
  const status =
    streams.length === 0
      ? allocated_memory_free(allocation[address]!, allocation[place]!, allocation[origin]!)
      : allocated_memory_free_on_streams(allocation, joinStreams(streams), streams.length);
  if (status !== memoryStatus.MEMORY_OK_SERVED) return status;
  tellServed();
  return memoryStatus.MEMORY_OK;
}
