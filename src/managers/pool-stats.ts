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
  /**
   * Bytes of earlier pools, from before a reset, that are kept because something still looks at them.
   * Such a pool is kept whole. The pinned memory manager also counts non-pinned memory that was freed
   * and is still looked at.
   */
  setAsideByteSize: number;
  /** Bytes that {@link AllocatedMemory.detach} has taken from a thread, and that none has attached. */
  detachedByteSize: number;
  /** The number of requests that wait for memory of the pool. */
  waitingCount: number;
}

/** What the pinned memory manager holds at one moment. */
export interface PinnedPoolStats extends PoolStats {
  /** Bytes of the system heap in live allocations, which are in none of the pool's figures. */
  nonpinnedByteSize: number;
}

/** Reads statistics that `fill` puts into an array laid out as `struct memory_pool_stats`. */
export function readPoolStats(fill: (stats: Float64Array) => void): PoolStats {
  return poolStatsOf(filled(fill));
}

/** As {@link readPoolStats}, of the pinned memory manager. */
export function readPinnedPoolStats(fill: (stats: Float64Array) => void): PinnedPoolStats {
  const stats = filled(fill);
  return { ...poolStatsOf(stats), nonpinnedByteSize: stats[at.nonpinned_byte_size]! };
}

function filled(fill: (stats: Float64Array) => void): Float64Array {
  const stats = newStruct(at);
  fill(stats);
  return stats;
}

function poolStatsOf(stats: Float64Array): PoolStats {
  return {
    capacityByteSize: stats[at.capacity_byte_size]!,
    usedByteSize: stats[at.used_byte_size]!,
    peakUsedByteSize: stats[at.peak_used_byte_size]!,
    freeByteSize: stats[at.free_byte_size]!,
    largestFreeByteSize: stats[at.largest_free_byte_size]!,
    allocationCount: stats[at.allocation_count]!,
    failedAllocationCount: stats[at.failed_allocation_count]!,
    setAsideByteSize: stats[at.set_aside_byte_size]!,
    detachedByteSize: stats[at.detached_byte_size]!,
    waitingCount: stats[at.waiting_count]!,
  };
}
