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
   * that this stream is made to wait for.
   */
  stream?: CudaStream | undefined;
  /**
   * What to do where a pool has room only in blocks that streams still use: `"wait"` waits for
   * them, which blocks the thread (or, with a `stream`, mostly makes only the stream wait), and
   * `"fallBack"` turns to the next kind of memory. Default `"wait"`.
   */
  whenFull?: "wait" | "fallBack" | undefined;
}

/** How an allocation is to use streams, as the native library takes it. */
export interface StreamRequest {
  readonly stream: NativeStream | null;
  readonly mayWait: 0 | 1;
}

/** @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be. */
export function streamRequestOf(options: AllocatedMemoryOptions): StreamRequest {
  const { stream, whenFull = "wait" } = checkOptions(operation, options, ["stream", "whenFull"]);
  if (whenFull !== "wait" && whenFull !== "fallBack") {
    throw invalidArgument(operation, "whenFull", '"wait" or "fallBack"', whenFull);
  }
  return {
    stream: stream === undefined ? null : streamStateOf(operation, stream).native,
    mayWait: whenFull === "wait" ? 1 : 0,
  };
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

/** Allocates as `allocated_memory_alloc` does, with a request. Returns a `memory_status`. */
export function allocateForStream(
  allocated: NativeAllocation,
  byteSize: number,
  memoryType: number,
  memoryTypeId: number,
  { stream, mayWait }: StreamRequest,
): number {
  return memoryLibrary.allocated_memory_alloc_on_stream(
    allocated,
    byteSize,
    memoryType,
    memoryTypeId,
    stream,
    mayWait,
    processOwner,
  );
}
