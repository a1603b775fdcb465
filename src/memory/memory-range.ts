import { invalidArgument, isWholeNumber } from "../arguments.ts";
import { MemoryError } from "../memory-error.ts";
import type { NativeAllocation } from "../native/allocation.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryAllocation as at } from "../native/memory-symbols.ts";
import { checkStatus } from "../native/status.ts";

const { allocated_memory_check } = memoryLibrary;

/** @throws {MemoryError} `INVALID_ARG` unless the range lies inside the memory. */
export function checkRange(
  operation: string,
  allocation: NativeAllocation,
  offset: unknown,
  byteSize: number,
): void {
  checkRangeOfTotal(operation, allocation[at.byte_size]!, offset, byteSize);
}

/** @throws {MemoryError} `INVALID_ARG` unless the range lies inside so many bytes. */
export function checkRangeOfTotal(
  operation: string,
  totalByteSize: number,
  offset: unknown,
  byteSize: number,
): void {
  if (!isWholeNumber(offset)) {
    throw invalidArgument(operation, "the offset", "a whole number of bytes from 0", offset);
  }
  if (byteSize > totalByteSize - offset) {
    throw new MemoryError(
      "INVALID_ARG",
      `${operation}: ${byteSize} bytes at offset ${offset} are not inside a memory of ` +
        `${totalByteSize} bytes`,
    );
  }
}

/**
 * @param distance From one address that is copied from or to, to the other.
 * @param allocations What is copied between, unless it is known to be there.
 * @throws {MemoryError} `INVALID_ARG` where so many bytes at each address overlap; `UNAVAILABLE` where
 * they do so only because one memory went when its manager was reset.
 */
export function checkApart(
  operation: string,
  distance: number,
  byteSize: number,
  allocations: readonly NativeAllocation[],
): void {
  if (Math.abs(distance) >= byteSize) return;
  for (const allocation of allocations) checkStatus(allocated_memory_check(allocation));
  throw new MemoryError("INVALID_ARG", `${operation}: the ranges of source and target overlap`);
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
