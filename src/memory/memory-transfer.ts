import { checkNotAborted, checkSignal, untilAborted } from "../abort-signal.ts";
import { checkOptions } from "../arguments.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import type { NativeAllocation } from "../native/allocation.ts";
import { addressOf } from "../native/host-memory.ts";
import { deviceIdOf, memoryTypeOf } from "../native/memory-place.ts";
import { memoryAllocation as at, memoryTypeNumber } from "../native/memory-symbols.ts";
import { checkStackRoom } from "../native/stack-room.ts";
import { type CudaStream, streamStateOf } from "../streams/cuda-stream.ts";
import { transferOnGpu, transferOnGpuAfter, transferOnGpuNow } from "../streams/gpu-transfer.ts";
import {
  transferOnHost,
  transferOnHostAfter,
  transferOnHostNow,
} from "../streams/host-transfer.ts";
import type { StreamState } from "../streams/stream-state.ts";
import { pieceByteSize, type Transfer } from "../streams/transfer.ts";
import { usesOfView } from "./host-view.ts";
import { bytesOf } from "./js-bytes.ts";
import { checkRange } from "./memory-range.ts";
import { memoryTypes } from "../native/memory-type.ts";
import type { MemoryUses } from "./memory-uses.ts";

/** Options of {@link AllocatedMemory.writeAsync} and {@link AllocatedMemory.readAsync}. */
export interface TransferOptions {
  /** The transfer comes after what was queued on this stream. Default: a stream of its own. */
  stream?: CudaStream | undefined;
  /**
   * Rejects the transfer with its reason as soon as it is aborted, and then no more bytes are queued. The
   * memory, and the buffer, are in use until the GPU has done with what it was given: freeing the memory
   * meanwhile is safe, and changing the buffer is not before {@link CudaStream.finished}. Which of the
   * bytes have arrived is not defined.
   */
  signal?: AbortSignal | undefined;
}

/** The JS side of a transfer, as it was asked for. */
export interface TransferRequest {
  readonly operation: "writeAsync" | "readAsync" | "writeFrom" | "readable";
  readonly bytes: Uint8Array;
  readonly streamState: StreamState | null;
  readonly signal: AbortSignal | undefined;
}

/**
 * @throws {MemoryError} `INVALID_ARG` for a buffer or options that are not what they have to be.
 */
export function transferRequestOf(
  operation: "writeAsync" | "readAsync",
  buffer: unknown,
  options: TransferOptions | undefined,
): TransferRequest {
  const { stream, signal } = checkOptions(operation, options, ["stream", "signal"]);
  checkSignal(operation, signal);
  const streamState = stream === undefined ? null : streamStateOf(operation, stream);
  return {
    operation,
    bytes: bytesOf(operation, operation === "writeAsync" ? "source" : "target", buffer),
    streamState,
    signal,
  };
}

/**
 * Makes a transfer between JS memory and a memory, both of which are in use until it is over. Adds
 * to an error what the transfer was.
 *
 * @throws {MemoryError} `INVALID_ARG` where the bytes do not fit, before one moves, or the JS
 * memory is detached or shrinks meanwhile; `UNAVAILABLE` where the memory is freed meanwhile or its
 * manager was reset; `INTERNAL` where CUDA fails.
 */
export async function transferBytes(
  request: TransferRequest,
  allocation: NativeAllocation,
  byteOffset: number,
  uses: MemoryUses,
): Promise<void> {
  const { operation, bytes, streamState, signal } = request;
  const byteSize = bytes.byteLength; // read now: the buffer may be detached or shrink later
  checkRange(operation, allocation, byteOffset, byteSize);
  checkNotAborted(signal);
  if (byteSize === 0) return;
  const place = allocation[at.place]!;
  const address = allocation[at.address]! + byteOffset;
  const memoryType = memoryTypes[memoryTypeOf(place)];
  const where = `${memoryType} memory ${deviceIdOf(place)}, offset ${byteOffset}`;
  const direction = operation.startsWith("write") ? "write" : "read";
  // Bytes that are not staged are read by the GPU from the viewed memory itself, or written there.
  const viewedUses = usesOfView(bytes.buffer);
  const transfer: Transfer = {
    description: `${operation} of ${byteSize} bytes (${where})`,
    direction,
    bytes,
    byteSize,
    allocation,
    byteOffset,
    isBackward: viewedUses !== undefined && isToHigherAddress(direction, bytes, address),
    signal,
    isFreed: () => uses.isCancelled,
    isStuck: false,
  };
  checkStackRoom();
  const isPieceOfStream = operation === "writeFrom" || operation === "readable";
  const run = () => runWithUses(transfer, streamState, uses, viewedUses, isPieceOfStream);
  if (signal === undefined) await run();
  else await untilAborted(signal, run, (error) => logLateError(error, signal));
}

/** Logs how a transfer has failed that was aborted before. That it was given up is no failure. */
function logLateError(error: unknown, signal: AbortSignal): void {
  const isFailure = error instanceof MemoryError && error.code === "INTERNAL";
  if (isFailure && error !== signal.reason) log.error("stream", error.message);
}

/** Makes a transfer, whose memories are in use until it is over. */
async function runWithUses(
  transfer: Transfer,
  streamState: StreamState | null,
  uses: MemoryUses,
  viewedUses: MemoryUses | undefined,
  isPieceOfStream: boolean,
): Promise<void> {
  const { description, signal } = transfer;
  uses.acquire();
  viewedUses?.acquire();
  try {
    await runTransfer(transfer, streamState, uses.memory, isPieceOfStream);
  } catch (error) {
    if (!(error instanceof MemoryError) || error.message.startsWith(description)) throw error;
    if (signal?.aborted && error === signal.reason) throw error; // it is the user's
    throw error.withMessage(`${description}: ${error.message}`);
  } finally {
    // Memory that a GPU may still use stays in use.
    if (!transfer.isStuck) {
      uses.release();
      viewedUses?.release();
    }
  }
}

/** Whether bytes move towards the end of a memory that both sides of the transfer may lie in. */
function isToHigherAddress(
  direction: Transfer["direction"],
  viewedBytes: Uint8Array,
  address: number,
): boolean {
  const viewedAddress = addressOf(viewedBytes);
  return direction === "write" ? viewedAddress < address : address < viewedAddress;
}

async function runTransfer(
  transfer: Transfer,
  streamState: StreamState | null,
  memory: object,
  isPieceOfStream: boolean,
): Promise<void> {
  const { allocation, description } = transfer;
  const place = allocation[at.place]!;
  const isOnGpu = memoryTypeOf(place) === memoryTypeNumber.MEMORY_GPU;
  if (streamState !== null) {
    const transferAfter = isOnGpu ? transferOnGpuAfter : transferOnHostAfter;
    await streamState.transfer(
      { description, memories: [memory] },
      (stream) => transferAfter(transfer, stream),
      transfer.signal,
    );
  } else if (isPieceOfStream && transfer.byteSize <= pieceByteSize) {
    // A stream of bytes waits for its own pieces. More of its bytes would pile up if they waited for
    // large transfers, too.
    await (isOnGpu ? transferOnGpuNow(transfer, deviceIdOf(place)) : transferOnHostNow(transfer));
  } else if (isOnGpu) {
    await transferOnGpu(transfer, deviceIdOf(place));
  } else {
    await transferOnHost(transfer);
  }
}
