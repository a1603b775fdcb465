import type { Pointer } from "bun:ffi";
import { log } from "../logger.ts";
import { freeAllocation, newAllocation } from "../native/allocation.ts";
import { arrayBufferOf } from "../native/host-memory.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { deviceIdOf, memoryTypeOf } from "../native/memory-place.ts";
import {
  collectedMemoryRecordByteSize,
  memoryAllocation as at,
  memoryStatus,
} from "../native/memory-symbols.ts";
import { nativeMessage } from "../native/status.ts";
import { owner } from "../native/owner.ts";
import { forgetDoneOperations } from "../streams/stream-state.ts";
import { threadState } from "../native/thread-state.ts";
import { type MemoryType, memoryTypes } from "../native/memory-type.ts";

const {
  allocated_memory_check,
  collected_memory_asked,
  collected_memory_note,
  collected_memory_take,
  collected_memory_unwatch,
  collected_memory_watch,
} = memoryLibrary;

/**
 * What an object refers to whose memory the garbage collector is to find. When the object is gone,
 * so is this, and the native library is told.
 */
export interface CollectorWatch {
  readonly record: number;
  readonly lifeline: ArrayBuffer;
}

/**
 * Watches that have ended, for the next memories: to make an ArrayBuffer of a record, and to have it
 * collected, takes several times as long as to use one again.
 */
const spareWatches: CollectorWatch[] = [];
const spareCountMax = 1024;

/** Has the garbage collector find memory that is dropped. `null` where that cannot be had. */
export function watchMemory(
  address: number,
  byteSize: number,
  place: number,
  origin: number,
): CollectorWatch | null {
  if (owner === 0) return null;
  const spare = spareWatches.pop();
  const record = collected_memory_watch(spare?.record ?? 0, address, byteSize, place, origin);
  if (record === 0) return null;
  notifyAtNextCollection();
  return spare ?? newWatch(record);
}

function newWatch(record: number): CollectorWatch {
  try {
    const lifeline = arrayBufferOf(
      record as Pointer,
      collectedMemoryRecordByteSize,
      "collected_memory_note",
      record,
    );
    return { record, lifeline };
  } catch (error) {
    collected_memory_unwatch(record);
    collected_memory_note(null, record as Pointer);
    throw error;
  }
}

/** Ends the watch of memory that has been freed as it should be. The memory must not refer to it. */
export function unwatchMemory(watch: CollectorWatch): void {
  collected_memory_unwatch(watch.record);
  if (spareWatches.length < spareCountMax) spareWatches.push(watch);
}

const taken = newAllocation();

/** Frees what the collector has found in this thread, and warns about each. Returns how many. */
export function freeCollected(): number {
  let count = 0;
  while (collected_memory_take(owner, taken) === memoryStatus.MEMORY_OK) {
    // What went with a reset, or by its pointer, was not forgotten.
    if (allocated_memory_check(taken) !== memoryStatus.MEMORY_OK) continue;
    const byteSize = taken[at.byte_size]!;
    const place = taken[at.place]!;
    const status = freeAllocation(taken);
    if (status < memoryStatus.MEMORY_OK) log.error("unreleased", nativeMessage());
    warnOfLeak(byteSize, memoryTypes[memoryTypeOf(place)]!, deviceIdOf(place));
    count++;
  }
  return count;
}

function warnOfLeak(byteSize: number, memoryType: MemoryType, memoryTypeId: number): void {
  log.warn(
    { event: "leak", byteSize, memoryType, memoryTypeId },
    `an AllocatedMemory of ${byteSize} bytes (${memoryType} ${memoryTypeId}) was never freed; it has ` +
      "been freed now that it was garbage collected",
  );
}

/**
 * Has the garbage collector find what was dropped, before a request is served worse than it was
 * meant. Returns whether it found something.
 */
export function collectDropped(): boolean {
  forgetDoneOperations(); // which refer to the memories that they were about
  Bun.gc(true);
  const hasFound = freeCollected() > 0;
  collected_memory_asked(owner, hasFound ? 1 : 0);
  return hasFound;
}

/** An object that nothing refers to tells by its end that there was a collection. */
const collections = threadState("collections", () => ({
  isExpected: false,
  registry: new FinalizationRegistry<null>(() => {
    collections.isExpected = false;
    freeCollected();
    notifyAtNextCollection();
  }),
}));

function notifyAtNextCollection(): void {
  if (collections.isExpected) return;
  collections.isExpected = true;
  collections.registry.register({}, null);
}
