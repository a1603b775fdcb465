import { memoryLibrary } from "./memory-library.ts";
import { memoryAllocation as at, memoryStatus } from "./memory-symbols.ts";
import { owner } from "./owner.ts";
import { tellServed } from "./served-requests.ts";
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
 * what it was given before. Returns a `memory_status`, of which threads have been told where requests
 * of theirs were served.
 */
export function freeAllocation(
  allocation: NativeAllocation,
  stream: NativeStream | null = null,
): number {
  const { address, place, origin } = at;
  const status =
    stream === null
      ? allocated_memory_free(allocation[address]!, allocation[place]!, allocation[origin]!)
      : allocated_memory_free_on_stream(allocation, stream);
  if (status !== memoryStatus.MEMORY_OK_SERVED) return status;
  tellServed();
  return memoryStatus.MEMORY_OK;
}
