// Values that tests pass to the package. Nothing here needs a CUDA runtime.

import type { Pointer } from "bun:ffi";

/** Values that are no whole number from 0 to 2^53 - 1. */
export const notWholeNumbers: readonly unknown[] = [
  NaN,
  0.5,
  -1,
  Infinity,
  2 ** 53,
  "512",
  undefined,
  null,
  {},
  [512],
  512n,
  true,
];

/** Passes a value where the types would not let it. */
export function untyped<T>(value: unknown): T {
  return value as T;
}

export function pointerPlus(pointer: Pointer, byteOffset: number): Pointer {
  return (pointer + byteOffset) as Pointer;
}

/** Bytes that differ from one place and one seed to another. */
export function patternBytes(byteSize: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteSize);
  let state = (seed * 2654435761) >>> 0 || 1;
  for (let i = 0; i < byteSize; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}
