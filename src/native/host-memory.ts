import { type Pointer, ptr, toArrayBuffer } from "bun:ffi";
import { memoryLibrary } from "./memory-library.ts";

/** The largest ArrayBuffer that bun:ffi makes of memory: 4 GiB. */
export const arrayBufferByteSizeMax = 2 ** 32;

/** What Node-API answers. */
const napiOk = 0;

/** As bun:ffi has it; its types leave out that the deallocator has a context. */
const toArrayBufferWith = toArrayBuffer as unknown as (
  pointer: Pointer,
  byteOffset: number,
  byteLength: number,
  deallocatorContext: Pointer,
  deallocator: Pointer,
) => ArrayBuffer;

/** A function of the native library that the engine calls, with the bytes and a context. */
export type Deallocator = "account_reference_end" | "collected_memory_note" | "memory_view_end";

/**
 * Makes an ArrayBuffer of host memory itself.
 *
 * @param deallocator Is called with the context once nothing has the memory any more, in whatever
 * thread that is then: neither this buffer nor one to which its memory was transferred.
 */
export function arrayBufferOf(
  pointer: Pointer,
  byteSize: number,
  deallocator: Deallocator,
  context: number,
): ArrayBuffer {
  const callback = (memoryLibrary[deallocator] as unknown as { ptr: Pointer }).ptr;
  return toArrayBufferWith(pointer, 0, byteSize, context as Pointer, callback);
}

/** Where some bytes lie, of which there is one at least. Those of a small typed array may move. */
export function addressOf(bytes: Uint8Array): number {
  return ptr(bytes);
}

/** A counter of the native library, which changes as the library changes it. */
export function counterAt(pointer: Pointer): Uint32Array {
  return new Uint32Array(toArrayBuffer(pointer, 0, Uint32Array.BYTES_PER_ELEMENT));
}

type DetachArrayBuffer = (buffer: ArrayBuffer) => number;

let napiDetach: DetachArrayBuffer | undefined;

/** The native library is also a Node-API addon, which each thread loads when it needs it. */
function loadAddon(): DetachArrayBuffer {
  const addon = { exports: {} as unknown };
  process.dlopen(addon, String(memoryLibrary.library_own_path()));
  return addon.exports as DetachArrayBuffer;
}

/**
 * Detaches an ArrayBuffer, after which it and all views of it have length 0. Returns false, at once
 * and without touching a byte, where the runtime holds on to it: it reads a file into it, say.
 * (`ArrayBuffer.prototype.transfer` copies all of the bytes then.)
 */
export function tryToDetach(buffer: ArrayBuffer): boolean {
  if (buffer.detached) return true;
  napiDetach ??= loadAddon();
  return napiDetach(buffer) === napiOk;
}
