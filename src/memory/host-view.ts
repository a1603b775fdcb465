import type { Pointer } from "bun:ffi";
import { MemoryError } from "../memory-error.ts";
import { arrayBufferByteSizeMax, arrayBufferOf } from "../native/host-memory.ts";
import { memoryTypeNumber } from "../native/memory-symbols.ts";
import type { MemoryUses } from "./memory-uses.ts";

/** The property of a view's buffer that refers to the uses of the memory, and so to the memory. */
const usesKey = Symbol("uses");

/**
 * The buffers of this thread's views that are not to be detached yet, each by its view's number.
 */
const liveBuffers = new Map<number, WeakRef<ArrayBuffer>>();
let lastNumber = 0;

/** Forgets the views that were garbage collected. */
const collected = new FinalizationRegistry((number: number) => void liveBuffers.delete(number));

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

/** A view of host memory that can be taken away from whoever holds it. */
export class HostView {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #uses: MemoryUses;
  readonly #number = ++lastNumber;

  /** @param uses The uses of the memory, which is not garbage collected before the view is. */
  constructor(pointer: Pointer, byteSize: number, uses: MemoryUses) {
    const buffer = arrayBufferOf(pointer, byteSize);
    Object.defineProperty(buffer, usesKey, { value: uses });
    this.bytes = new Uint8Array(buffer);
    this.#uses = uses;
    liveBuffers.set(this.#number, new WeakRef(buffer));
    collected.register(buffer, this.#number, this);
  }

  /**
   * Takes the view away: everything that looks at the memory through it has length 0 then. Where
   * Bun holds on to the view for a while, the memory is in use until the view is gone.
   */
  detach(): void {
    collected.unregister(this);
    liveBuffers.delete(this.#number);
    const { buffer } = this.bytes;
    if (tryToDetach(buffer)) return;
    this.#uses.acquire();
    void untilDetached(buffer).then(() => this.#uses.release());
  }
}

/** The uses of the memory that a buffer is a view of, or `undefined` for any other buffer. */
export function usesOfView(buffer: ArrayBufferLike): MemoryUses | undefined {
  return (buffer as { [usesKey]?: MemoryUses })[usesKey];
}

/** Returns false where Bun holds on to the buffer: it reads a file into it, for example. */
function tryToDetach(buffer: ArrayBuffer): boolean {
  try {
    // This returns an empty buffer: one with the memory would count as garbage once more.
    if (!buffer.detached) buffer.transfer(0);
  } catch {} // a failed attempt copies the whole buffer, for which there may be no memory
  return buffer.detached;
}

async function untilDetached(buffer: ArrayBuffer): Promise<void> {
  for (;;) {
    const start = performance.now();
    if (tryToDetach(buffer)) return;
    // A failed attempt copies the buffer, so large buffers are tried less often.
    const milliseconds = Math.max(1, 8 * (performance.now() - start));
    await new Promise((resolve) => void setTimeout(resolve, milliseconds).unref());
  }
}

/** Detaches all views of this thread, each as soon as that can be. */
export function detachHostViews(): void {
  for (const reference of liveBuffers.values()) {
    const buffer = reference.deref();
    if (buffer !== undefined) void untilDetached(buffer);
  }
  liveBuffers.clear();
}
