import type { Pointer } from "bun:ffi";
import { MemoryError } from "../memory-error.ts";
import { isBorrowed, type NativeAllocation } from "../native/allocation.ts";
import {
  arrayBufferByteSizeMax,
  arrayBufferOf,
  counterAt,
  tryToDetach,
} from "../native/host-memory.ts";
import { pauseOfBackground } from "../native/event-loop.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryAllocation as at, memoryTypeNumber } from "../native/memory-symbols.ts";
import { checkStatus } from "../native/status.ts";
import { threadState } from "../native/thread-state.ts";
import type { MemoryUses } from "./memory-uses.ts";

const { host_memory_reset_count_address, memory_hold_begin, memory_hold_end, memory_view_begin } =
  memoryLibrary;

/** Its only element changes whenever host memory is reset, by whatever thread. */
export const hostResetCount = counterAt(host_memory_reset_count_address() as Pointer);

/**
 * The property of a view's buffer that refers to the uses of the memory, and so to the memory. Every
 * copy of the package in the thread knows it.
 */
const usesKey = Symbol.for("bun-cuda-memory.uses");

/** The property of a view's buffer that keeps the {@link HostView} as long as the buffer. */
const viewKey = Symbol("view");

/**
 * The buffers of this thread's views that are not to be detached yet, each by its view's number; and
 * what forgets those that were garbage collected.
 */
const views = threadState("views", () => {
  const liveBuffers = new Map<number, WeakRef<ArrayBuffer>>();
  return {
    lastNumber: 0,
    liveBuffers,
    collected: new FinalizationRegistry((number: number) => void liveBuffers.delete(number)),
  };
});

/** @throws {MemoryError} `UNSUPPORTED` for memory that there can be no view of. */
export function checkViewable(memoryType: number, deviceId: number, byteSize: number): void {
  if (memoryType === memoryTypeNumber.MEMORY_GPU) {
    throw new MemoryError(
      "UNSUPPORTED",
      `bytes: the memory is on GPU ${deviceId}, where the host cannot look at it; use read`,
    );
  }
  if (byteSize > arrayBufferByteSizeMax) {
    throw new MemoryError(
      "UNSUPPORTED",
      `bytes: a view has at most ${arrayBufferByteSizeMax} bytes, the memory ${byteSize}`,
    );
  }
}

/**
 * A view of host memory that can be taken away from whoever holds it. Where it cannot, because the
 * runtime holds on to it or it was transferred to somebody else, the memory stays as long as
 * anything in the process has it: the native library counts it.
 */
export class HostView {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The memory is there as long as {@link hostResetCount} is this. */
  readonly #resetCount = hostResetCount[0]!;
  readonly #uses: MemoryUses;
  readonly #number = ++views.lastNumber;

  /**
   * @param uses The uses of the memory, which is not garbage collected before the view is.
   * @throws {MemoryError} `UNAVAILABLE` where the memory is no longer there.
   */
  constructor(allocation: NativeAllocation, uses: MemoryUses) {
    const buffer = bufferOf(allocation);
    Object.defineProperty(buffer, usesKey, { value: uses });
    Object.defineProperty(buffer, viewKey, { value: this });
    this.bytes = new Uint8Array(buffer);
    this.#uses = uses;
    // No reset takes away what somebody else owns.
    if (isBorrowed(allocation)) return;
    views.liveBuffers.set(this.#number, new WeakRef(buffer));
    views.collected.register(buffer, this.#number, this);
  }

  /** Whether the memory has not gone by a reset since. */
  get isThere(): boolean {
    return this.#resetCount === hostResetCount[0];
  }

  /**
   * Takes the view away: everything that looks at the memory through it has length 0 then. Where
   * the runtime holds on to the view for a while, the memory is in use until the view is gone.
   */
  detach(): void {
    if (this.tryToDetach()) return;
    this.#forget();
    this.#uses.acquire();
    void untilDetached(this.bytes.buffer).then(() => this.#uses.release());
  }

  /** Takes the view away, or changes nothing and returns false where that cannot be at once. */
  tryToDetach(): boolean {
    const isDetached = tryToDetach(this.bytes.buffer);
    if (isDetached) this.#forget();
    return isDetached;
  }

  #forget(): void {
    views.collected.unregister(this);
    views.liveBuffers.delete(this.#number);
  }
}

function bufferOf(allocation: NativeAllocation): ArrayBuffer {
  const hold = memory_hold_begin(allocation);
  checkStatus(hold);
  try {
    const buffer = arrayBufferOf(
      allocation[at.address] as Pointer,
      allocation[at.byte_size]!,
      "memory_view_end",
      hold,
    );
    // A thread that is terminated before it gets here leaves no buffer, and its end ends the hold.
    memory_view_begin(hold);
    return buffer;
  } catch (error) {
    memory_hold_end(hold);
    throw error;
  }
}

/** The uses of the memory that a buffer is a view of, or `undefined` for any other buffer. */
export function usesOfView(buffer: ArrayBufferLike): MemoryUses | undefined {
  return (buffer as { [usesKey]?: MemoryUses })[usesKey];
}

/** The longest time between two attempts, in milliseconds. */
const pauseMillisecondsMax = 32;

async function untilDetached(buffer: ArrayBuffer): Promise<void> {
  for (let milliseconds = 1; !tryToDetach(buffer); milliseconds *= 2) {
    await pauseOfBackground(Math.min(milliseconds, pauseMillisecondsMax));
  }
}

/** Detaches all views of this thread, each as soon as that can be. */
export function detachHostViews(): void {
  for (const reference of views.liveBuffers.values()) {
    const buffer = reference.deref();
    if (buffer !== undefined) void untilDetached(buffer);
  }
  views.liveBuffers.clear();
}
