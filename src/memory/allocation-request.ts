import { checkByteSize, checkDeviceId, checkOptions, invalidArgument } from "../arguments.ts";
import { type NativeAllocation, processOwner } from "../native/allocation.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import type { NativeStream } from "../native/stream.ts";
import { type CudaStream, streamStateOf } from "../streams/cuda-stream.ts";
import { numberOfMemoryType } from "./memory-type.ts";

const operation = "new AllocatedMemory";

/** Options of {@link AllocatedMemory}'s constructor. */
export interface AllocatedMemoryOptions {
  /**
   * The stream that the memory will be used on, and no other before {@link CudaStream.finished}.
   * The request may then have memory at once that was freed with that stream, or with another one
   * that this stream is made to wait for. The caller waits for no stream either way: where a pool
   * has no room that no stream uses, the request turns to the next kind of memory.
   */
  stream?: CudaStream | undefined;
}

/**
 * The stream of the options, or `null` for none.
 *
 * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be.
 */
export function streamOfRequest(options: AllocatedMemoryOptions): NativeStream | null {
  checkOptions(operation, options);
  const { stream } = options;
  return stream === undefined ? null : streamStateOf(operation, stream).native;
}

/** @throws {MemoryError} `INVALID_ARG` for the first argument that is not what it has to be. */
export function checkAllocationArguments(
  byteSize: unknown,
  memoryType: unknown,
  memoryTypeId: unknown,
): void {
  checkByteSize(operation, "byteSize", byteSize);
  if (numberOfMemoryType(memoryType) < 0) {
    throw invalidArgument(operation, "memoryType", '"CPU", "CPU_PINNED" or "GPU"', memoryType);
  }
  checkDeviceId(operation, memoryTypeId);
}

/** Allocates as `allocated_memory_alloc` does, for a stream. Returns a `memory_status`. */
export function allocateForStream(
  allocated: NativeAllocation,
  byteSize: number,
  memoryType: number,
  memoryTypeId: number,
  stream: NativeStream,
): number {
  return memoryLibrary.allocated_memory_alloc_on_stream(
    allocated,
    byteSize,
    memoryType,
    memoryTypeId,
    stream,
    processOwner,
  );
}
