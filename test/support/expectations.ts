// What tests expect of the package. Nothing here needs a CUDA runtime.

import { expect } from "bun:test";
import { MemoryError, type MemoryErrorCode } from "../../src/memory-error.ts";

/** Runs `action`, which must throw a `MemoryError` of this code; returns its message. */
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

/** The error that a promise is rejected with. */
export async function rejectionOf(promise: Promise<unknown>): Promise<MemoryError> {
  try {
    await promise;
  } catch (error) {
    return error as MemoryError;
  }
  throw new Error("it was not rejected");
}

/** Expects the same bytes, in far less time than `toEqual` takes for some megabytes. */
export function expectSame(got: Uint8Array, wanted: Uint8Array): void {
  expect(Buffer.compare(got, wanted)).toBe(0);
}
