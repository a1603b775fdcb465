import type { Pointer } from "bun:ffi";
import type { MemoryType } from "../native/memory-type.ts";

/** One buffer of a memory. */
export interface MemoryBuffer {
  /** The buffer's address. */
  pointer: Pointer;
  /** The number of bytes. */
  byteSize: number;
  /** The kind of memory that it lies in. */
  memoryType: MemoryType;
  /** The GPU's CUDA ordinal; 0 for host memory. */
  memoryTypeId: number;
}
