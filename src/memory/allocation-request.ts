import { checkByteSize, checkDeviceId, checkOptions, invalidArgument } from "../arguments.ts";
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
}

/**
 * The stream that an allocation is for, or `null`.
 *
 * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be.
 */
export function streamOf(options: AllocatedMemoryOptions): NativeStream | null {
  const { stream } = checkOptions(operation, options, ["stream"]);
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
