import { invalidArgument, isWholeNumber } from "../arguments.ts";

/** The size of a GPU's pool: bytes, or a share of the GPU's memory such as `"80%"`. */
export type MemoryPoolSize = number | `${number}%`;

/**
 * Reads a share such as `80%` or `12.5%` as a percentage from 0 to 100. Returns `null` for whatever
 * else.
 */
export function parseShare(text: unknown): number | null {
  if (typeof text !== "string" || !/^\d{1,3}(\.\d{1,9})?%$/.test(text)) return null;
  const percentage = Number(text.slice(0, -1));
  return percentage <= 100 ? percentage : null;
}

/** @throws {MemoryError} `INVALID_ARG` unless the value is a {@link MemoryPoolSize}. */
export function checkPoolSize(operation: string, name: string, value: unknown): void {
  if (isWholeNumber(value) || parseShare(value) !== null) return;
  const expected =
    'a whole number of bytes from 0 to 2^53 - 1, or a share of the GPU\'s memory such as "80%"';
  throw invalidArgument(operation, name, expected, value);
}

/** A size as the native library takes it: bytes, or below 0 a percentage of the GPU's memory. */
export function nativePoolSize(size: MemoryPoolSize): number {
  return typeof size === "number" ? size : -parseShare(size)!;
}

/** Whether the size is that of a pool: 0, and no share of the memory, disable a GPU's pool. */
export function isPool(size: MemoryPoolSize): boolean {
  return nativePoolSize(size) !== 0;
}

/** A size in words: `1024 bytes`, or `80% of its memory`. */
export function describePoolSize(size: MemoryPoolSize): string {
  return typeof size === "number" ? `${size} bytes` : `${size} of its memory`;
}
