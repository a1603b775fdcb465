// What several test files say of memory.

import type { Pointer } from "bun:ffi";
import { afterEach, expect } from "bun:test";
import {
  CudaMemoryManager,
  getSupportedGpus,
  MemoryError,
  type MemoryErrorCode,
  PinnedMemoryManager,
  setLogger,
} from "../../src/index.ts";

/** The GPUs of the runtime under test that can have a pool. */
export const gpus = getSupportedGpus();

/** Messages of the test that runs, by level. */
export const logged = { info: [] as string[], warn: [] as string[], error: [] as string[] };

setLogger({
  info: (message) => void logged.info.push(message),
  warn: (message) => void logged.warn.push(message),
  error: (message) => void logged.error.push(message),
});

/** Leaves no manager and no message behind. */
export function resetAfterEach(): void {
  afterEach(() => {
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    for (const messages of Object.values(logged)) messages.length = 0;
  });
}

/** Runs `action`, which must throw a `MemoryError` of this code; gives its message. */
export function expectMemoryError(code: MemoryErrorCode, action: () => unknown): string {
  let thrown: unknown;
  try {
    action();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toBeInstanceOf(MemoryError);
  const error = thrown as MemoryError;
  expect(error).toMatchObject({ name: "MemoryError", code });
  return error.message;
}

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
