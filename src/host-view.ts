import { type Pointer, toArrayBuffer } from "bun:ffi";

/** The most that bun:ffi makes an ArrayBuffer of: 4 GiB. */
export const hostViewByteSizeMax = 2 ** 32;

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
    const buffer = toArrayBuffer(pointer, 0, byteSize) as ArrayBuffer;
    Object.defineProperty(buffer, owner, { value: memory });
    this.bytes = new Uint8Array(buffer);
    liveBuffers.set(this.#number, new WeakRef(buffer));
    collected.register(buffer, this.#number, this);
  }

  /** Everything that looks at the memory through this view has length 0 from now on. */
  detach(): void {
    collected.unregister(this);
    liveBuffers.delete(this.#number);
    detach(this.bytes.buffer);
  }
}

function detach(buffer: ArrayBuffer): void {
  // What this returns is an empty buffer: one with the memory would count as garbage once more.
  if (!buffer.detached) buffer.transfer(0);
}

/** Detaches all views of this thread. */
export function detachHostViews(): void {
  for (const reference of liveBuffers.values()) {
    const buffer = reference.deref();
    if (buffer !== undefined) detach(buffer);
  }
  liveBuffers.clear();
}
