import { type Pointer, toArrayBuffer } from "bun:ffi";

/** The largest ArrayBuffer that bun:ffi makes of memory: 4 GiB. */
export const arrayBufferByteSizeMax = 2 ** 32;

/** Makes an ArrayBuffer of host memory itself, which nothing keeps alive but its owner. */
export function arrayBufferOf(pointer: Pointer, byteSize: number): ArrayBuffer {
  return toArrayBuffer(pointer, 0, byteSize) as ArrayBuffer;
}
