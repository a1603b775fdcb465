import { memoryPoolStats as at } from "../native/memory-symbols.ts";
import { newStruct } from "../native/struct.ts";

/**
 * What a pool holds at one moment. Sizes are in bytes, and used sizes count whole 512-byte
 * granules.
 */
export interface PoolStats {
  /** The size of the pool, which is always the sum of used and free bytes. */
  capacityByteSize: number;
  /** Bytes in live allocations. */
  usedByteSize: number;
  /** The most that was ever used since the pool was created. */
  peakUsedByteSize: number;
  /** Bytes that are not in use, in one or many blocks. */
  freeByteSize: number;
  /** The largest request that the pool could serve now. */
  largestFreeByteSize: number;
  /** The number of live allocations. */
  allocationCount: number;
  /** The number of requests that the pool could not serve since it was created. */
  failedAllocationCount: number;
}

/** Reads statistics that `fill` puts into an array laid out as `struct memory_pool_stats`. */
export function readPoolStats(fill: (stats: Float64Array) => void): PoolStats {
  const stats = newStruct(at);
  fill(stats);
  return {
    capacityByteSize: stats[at.capacity_byte_size]!,
    usedByteSize: stats[at.used_byte_size]!,
    peakUsedByteSize: stats[at.peak_used_byte_size]!,
    freeByteSize: stats[at.free_byte_size]!,
    largestFreeByteSize: stats[at.largest_free_byte_size]!,
    allocationCount: stats[at.allocation_count]!,
    failedAllocationCount: stats[at.failed_allocation_count]!,
  };
}
