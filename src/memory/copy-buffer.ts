import { checkByteSize, checkOptions, invalidArgument, isWholeNumber } from "../arguments.ts";
import type { NativeAllocation } from "../native/allocation.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryAllocation as at } from "../native/memory-symbols.ts";
import type { NativeStream } from "../native/stream.ts";
import { type CudaStream, streamStateOf } from "../streams/cuda-stream.ts";
import { callOrQueue, gather } from "./gathering-copy.ts";
import { checkApart, checkRange, checkRangeOfTotal } from "./memory-range.ts";
import { type MemoryReference, piecesOfReference } from "./memory-reference.ts";
import { allocationOf, type MutableMemory } from "./mutable-memory.ts";

const { allocated_memory_copy } = memoryLibrary;

/** Options of {@link copyBuffer}; offsets and sizes are in bytes. */
export interface CopyBufferOptions {
  /** Where the bytes go in the target. Default 0. */
  targetOffset?: number | undefined;
  /** Where the bytes come from in the source. Default 0. */
  sourceOffset?: number | undefined;
  /** The number of bytes. Default: all that the source has from `sourceOffset` on. */
  byteSize?: number | undefined;
  /** Queues the copy on this stream. Default: the bytes are in place when it returns. */
  stream?: CudaStream | undefined;
}

/**
 * Copies bytes between any two memories, of any types and devices. After Triton's `CopyBuffer`.
 *
 * A {@link MemoryReference} is gathered: what its buffers have lies in the target one after another.
 * Small buffers of the host go to a GPU in one transfer, by way of pinned memory; with a stream only those
 * of JS memory, which has been read when the call returns.
 *
 * With a stream, a copy that a GPU takes part in is queued after what the stream was given before;
 * neither memory may be used otherwise, or freed without that stream, before it is done. A copy
 * between host memories is made at once, also with a stream, and waits for nothing.
 *
 * @returns Whether the copy was queued and the caller has to wait for it, by
 * {@link CudaStream.finished} or {@link CudaStream.synchronize}, which also tell if it failed.
 * @throws {MemoryError} `INVALID_ARG` where either memory has not that many bytes, or the two
 * ranges overlap, before a byte moves, and where JS memory of a reference is detached or shrank;
 * `UNAVAILABLE` where a memory was freed, detached or never got,
 * or went when its manager was reset; `INTERNAL` where CUDA fails, and `DEVICE_LOST` where it has
 * failed for good.
 *
 * @example
 * ```ts
 * using staging = new AllocatedMemory(1 << 20, "CPU_PINNED");
 * using tensor = new AllocatedMemory(8 << 20, "GPU");
 * copyBuffer(tensor, staging, { targetOffset: 3 << 20 });
 *
 * using stream = new CudaStream();
 * if (copyBuffer(tensor, staging, { stream })) await stream.finished();
 * ```
 */
export function copyBuffer(
  target: MutableMemory,
  source: MutableMemory | MemoryReference,
  options?: CopyBufferOptions,
): boolean {
  const {
    targetOffset = 0,
    sourceOffset = 0,
    byteSize: wanted,
    stream,
  } = checkOptions("copyBuffer", options, ["targetOffset", "sourceOffset", "byteSize", "stream"]);
  const to = requireAllocation("target", target);
  const pieces = piecesOfReference(source);
  const from = pieces === null ? requireAllocation("source", source) : null;
  const sourceByteSize =
    from === null ? pieces!.reduce((sum, piece) => sum + piece.byteSize, 0) : from[at.byte_size]!;
  const byteSize = wanted === undefined ? restOf(sourceByteSize, sourceOffset) : wanted;
  checkByteSize("copyBuffer", "byteSize", byteSize);
  checkRangeOfTotal("copyBuffer: source", sourceByteSize, sourceOffset, byteSize);
  checkRange("copyBuffer: target", to, targetOffset, byteSize);
  const streamState = stream === undefined ? null : streamStateOf("copyBuffer", stream);
  if (from === null) {
    const gatheringTarget = { memory: target, allocation: to, byteOffset: targetOffset };
    return gather(gatheringTarget, pieces!, sourceOffset, byteSize, streamState);
  }
  if (byteSize === 0) return false;
  const distance = to[at.address]! + targetOffset - (from[at.address]! + sourceOffset);
  checkApart("copyBuffer", distance, byteSize, [to, from]);
  const copy = (on: NativeStream | null) =>
    allocated_memory_copy(to, targetOffset, from, sourceOffset, byteSize, on);
  return callOrQueue(copy, byteSize, [target, source], streamState);
}

/** @throws {MemoryError} `INVALID_ARG` for what is no memory. */
function requireAllocation(name: "target" | "source", memory: unknown): NativeAllocation {
  const allocation = allocationOf("copyBuffer", memory);
  if (allocation !== null) return allocation;
  const expected = `a MutableMemory${name === "source" ? " or a MemoryReference" : ""}`;
  throw invalidArgument("copyBuffer", name, expected, memory);
}

/** Bytes from the offset to the end; 0 for an offset that is none, which is refused later. */
function restOf(totalByteSize: number, offset: unknown): number {
  return isWholeNumber(offset) ? Math.max(0, totalByteSize - offset) : 0;
}
