import { checkNotAborted } from "../abort-signal.ts";
import { MemoryError } from "../memory-error.ts";
import type { NativeAllocation } from "../native/allocation.ts";

/**
 * The largest number of bytes that one turn of the event loop copies, which takes some tenths of a
 * millisecond. Smaller pieces are slower.
 */
export const pieceByteSize = 4 * 1024 * 1024;

/**
 * Bytes on their way between JS memory and a memory of any type, piece by piece.
 *
 * Only the thread that asked for the transfer ever touches the JS memory, one piece in each turn of
 * its event loop. It looks each time whether the JS memory is still there.
 */
export interface Transfer {
  /** Names the transfer in an error's message. */
  readonly description: string;
  readonly direction: "write" | "read";
  /**
   * The JS memory, which has fewer than `byteSize` bytes once its buffer is detached or shrinks.
   */
  readonly bytes: Uint8Array;
  readonly byteSize: number;
  readonly allocation: NativeAllocation;
  /** Where in the allocation the bytes go or come from. */
  readonly byteOffset: number;
  /** Whether the last piece of host memory comes first, because the two ends overlap. */
  readonly isBackward: boolean;
  /** Ends the transfer, when no more of it is queued. Whoever has asked for it is told by the signal. */
  readonly signal: AbortSignal | undefined;
  /** Whether the memory was freed meanwhile, without the stream that orders the transfer. */
  isFreed(): boolean;
  /** Whether the transfer has failed while a GPU may still use the memory, for all that CUDA tells. */
  isStuck: boolean;
}

/** A part of a transfer's bytes. */
export interface Piece {
  readonly offset: number;
  readonly byteSize: number;
}

/** A transfer's pieces, from its first byte to its last. */
export function* piecesOf(transfer: Transfer): Generator<Piece> {
  const { byteSize } = transfer;
  for (let offset = 0; offset < byteSize; offset += pieceByteSize) {
    yield { offset, byteSize: Math.min(pieceByteSize, byteSize - offset) };
  }
}

/**
 * @throws The reason of the signal, once it is aborted.
 * @throws {MemoryError} `UNAVAILABLE` where the memory was freed meanwhile.
 */
export function checkGoesOn({ description, isFreed, signal }: Transfer): void {
  checkNotAborted(signal);
  if (!isFreed()) return;
  throw new MemoryError("UNAVAILABLE", `${description}: the memory was freed meanwhile`);
}

/**
 * The JS side of a piece that is about to be copied.
 *
 * @throws The reason of the signal, once it is aborted.
 * @throws {MemoryError} `UNAVAILABLE` where the memory was freed meanwhile; `INVALID_ARG` where the
 * JS memory was detached or shrank.
 */
export function bytesOfPiece(transfer: Transfer, piece: Piece): Uint8Array {
  checkGoesOn(transfer);
  const { bytes, description } = transfer;
  const end = piece.offset + piece.byteSize;
  if (bytes.byteLength < end) {
    throw new MemoryError(
      "INVALID_ARG",
      `${description}: the buffer was detached or shrank meanwhile`,
    );
  }
  return bytes.subarray(piece.offset, end);
}
