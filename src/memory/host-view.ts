import type { Pointer } from "bun:ffi";
import { arrayBufferOf } from "../native/host-memory.ts";

const owner = Symbol("owner");

/** Views of this thread whose memory has not been freed. */
const liveBuffers = new Map<number, WeakRef<ArrayBuffer>>();
let lastNumber = 0;

const collected = new FinalizationRegistry((number: number) => void liveBuffers.delete(number));

/** A view of host memory that can be taken away from whoever holds it. */
export class HostView {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #number = ++lastNumber;

  /** @param memory What must not be garbage collected, and so freed, before the view is. */
  constructor(pointer: Pointer, byteSize: number, memory: object) {
    const buffer = arrayBufferOf(pointer, byteSize);
    Object.defineProperty(buffer, owner, { value: memory });
    this.bytes = new Uint8Array(buffer);
    liveBuffers.set(this.#number, new WeakRef(buffer));
    collected.register(buffer, this.#number, this);
  }

  /** Everything that looks at the memory through this view has length 0 then. See {@link tryToDetach}. */
  tryToDetach(): boolean {
    collected.unregister(this);
    liveBuffers.delete(this.#number);
    return tryToDetach(this.bytes.buffer);
  }

  /** Resolves when it is so. */
  detached(): Promise<void> {
    return untilDetached(this.bytes.buffer);
  }
}

/** The memory that a buffer is a view of, or `undefined`. */
export function ownerOf(buffer: ArrayBufferLike): unknown {
  return (buffer as { [owner]?: unknown })[owner];
}

/** False where Bun holds on to the buffer for a while: it reads a file into it, for example. */
function tryToDetach(buffer: ArrayBuffer): boolean {
  try {
    // What this returns is an empty buffer: one with the memory would count as garbage once more.
    if (!buffer.detached) buffer.transfer(0);
  } catch {} // an attempt in vain copies the whole buffer, for which there may be no memory
  return buffer.detached;
}

async function untilDetached(buffer: ArrayBuffer): Promise<void> {
  for (;;) {
    const start = performance.now();
    if (tryToDetach(buffer)) return;
    // Copies take long, so that large buffers are tried less often.
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
