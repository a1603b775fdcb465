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
