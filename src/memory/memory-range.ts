import { invalidArgument, isWholeNumber } from "../arguments.ts";
import { MemoryError } from "../memory-error.ts";
import type { NativeAllocation } from "../native/allocation.ts";
import { memoryAllocation as at } from "../native/memory-symbols.ts";

/** @throws {MemoryError} `INVALID_ARG` unless the range lies inside the memory. */
export function checkRange(
  operation: string,
  allocation: NativeAllocation,
  offset: unknown,
  byteSize: number,
): void {
  if (!isWholeNumber(offset)) {
    throw invalidArgument(operation, "the offset", "a whole number of bytes from 0", offset);
  }
  const totalByteSize = allocation[at.byte_size]!;
  if (byteSize > totalByteSize - offset) {
    throw new MemoryError(
      "INVALID_ARG",
      `${operation}: ${byteSize} bytes at offset ${offset} are not inside a memory of ` +
        `${totalByteSize} bytes`,
    );
  }
}

/**
 * Where a part of some bytes lies, whose indices count from the end where they are negative.
 *
 * @throws {MemoryError} `INVALID_ARG` for an index that is not inside the bytes or at their end.
 */
export function checkPart(
  operation: string,
  totalByteSize: number,
  begin: unknown,
  end: unknown = totalByteSize,
): { first: number; byteSize: number } {
  const first = checkIndex(operation, "begin", totalByteSize, begin);
  const last = checkIndex(operation, "end", totalByteSize, end);
  return { first, byteSize: Math.max(0, last - first) };
}

function checkIndex(
  operation: string,
  name: string,
  totalByteSize: number,
  index: unknown,
): number {
  if (!Number.isInteger(index) || Math.abs(index as number) > totalByteSize) {
    const range = `a whole number from -${totalByteSize} to ${totalByteSize}`;
    throw invalidArgument(operation, name, range, index);
  }
  return (index as number) < 0 ? totalByteSize + (index as number) : (index as number);
}
