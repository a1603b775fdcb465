import {
  AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  getSupportedGpus,
  MemoryError,
  type MemoryType,
  PinnedMemoryManager,
} from "bun-cuda-memory";
import type { Pointer } from "bun:ffi";
import {
  type AllocationEvents,
  granuleByteSize,
  peakLiveByteSize,
  roundUpToGranule,
} from "./allocation-events.ts";

/** The GPU on which traces are replayed. */
const deviceId = 0;

/** What a replay came to. */
export interface ReplayReport {
  /** Allocations that were asked for. */
  requestCount: number;
  /** How many of them got which memory; `"none"`: nothing at all could serve them. */
  byType: Record<MemoryType | "none", number>;
  /** The most bytes that were alive at once, each allocation rounded up to 512. */
  peakLiveByteSize: number;
}

/** The managers are one per process; a replay must not meet, or reset, somebody else's. */
function requireNoManagers(): void {
  try {
    PinnedMemoryManager.stats();
  } catch (error) {
    if (error instanceof MemoryError && error.code === "UNAVAILABLE") return;
    throw error;
  }
  throw new Error("a replay needs memory managers of its own, but this process has some already");
}

/**
 * Replays events with the package's fallback policy: CUDA memory, else pinned, else plain memory.
 *
 * @param cudaMemoryPoolByteSize The size of the CUDA memory pool; the pinned pool has the default.
 */
export function replay(events: AllocationEvents, cudaMemoryPoolByteSize: number): ReplayReport {
  requireNoManagers();
  using _managers = createMemoryManagers({
    cudaMemoryPoolByteSize: { [deviceId]: cudaMemoryPoolByteSize },
  });
  const live = new Map<number, AllocatedMemory>();
  try {
    return {
      requestCount: events.byteSizes.length,
      byType: allocateAndFree(events, live),
      peakLiveByteSize: peakLiveByteSize(events),
    };
  } finally {
    for (const memory of live.values()) memory.free();
  }
}

/** Counts the memory types; leaves in `live` what the events do not free. */
function allocateAndFree(
  { events, byteSizes }: AllocationEvents,
  live: Map<number, AllocatedMemory>,
): ReplayReport["byType"] {
  const byType = { GPU: 0, CPU_PINNED: 0, CPU: 0, none: 0 };
  for (const event of events) {
    if (event < 0) {
      live.get(~event)?.free();
      live.delete(~event);
      continue;
    }
    const memory = new AllocatedMemory(byteSizes[event]!, "GPU", deviceId);
    live.set(event, memory);
    byType[memory.bufferCount === 0 ? "none" : memory.memoryType]++;
  }
  return byType;
}

/** What {@link findFittingPoolByteSize} found. */
export type FittingPool = { fits: true; byteSize: number } | { fits: false; reason: string };

/** Each pool that is tried is this much larger than the one before. */
const growth = 1.005;

/**
 * The smallest CUDA memory pool that serves all events, to a precision of 0.5%: pools are tried
 * from the peak of live bytes upwards, each 0.5% larger than the last, until one serves everything
 * or the GPU has no more memory.
 *
 * Every size is tried, rather than halving an interval, because a larger pool can be worse: blocks
 * come to lie elsewhere in it, and may leave worse gaps.
 */
export function findFittingPoolByteSize(events: AllocationEvents): FittingPool {
  requireNoManagers();
  if (!getSupportedGpus().includes(deviceId)) {
    return { fits: false, reason: `there is no supported GPU ${deviceId}` };
  }
  let byteSize = Math.max(granuleByteSize, peakLiveByteSize(events));
  for (;;) {
    try {
      CudaMemoryManager.create({ memoryPoolByteSize: { [deviceId]: byteSize } });
    } catch (error) {
      if (!(error instanceof MemoryError)) throw error;
      return { fits: false, reason: error.message };
    }
    try {
      if (servesAll(events)) return { fits: true, byteSize };
    } finally {
      CudaMemoryManager.reset(); // frees whatever is allocated
    }
    byteSize = roundUpToGranule(byteSize * growth);
  }
}

/** Whether the pool serves every event. Host memory is not touched where it does not. */
function servesAll({ events, byteSizes }: AllocationEvents): boolean {
  const pointers = new Float64Array(byteSizes.length);
  for (const event of events) {
    if (event < 0) {
      CudaMemoryManager.free(pointers[~event] as Pointer, deviceId);
      continue;
    }
    try {
      pointers[event] = CudaMemoryManager.alloc(byteSizes[event]!, deviceId);
    } catch (error) {
      if (error instanceof MemoryError && error.code === "OUT_OF_MEMORY") return false;
      throw error;
    }
  }
  return true;
}
