import { log } from "../logger.ts";
import { yieldToEventLoop } from "../native/event-loop.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { checkStatus } from "../native/status.ts";
import {
  checkErrorsSince,
  errorCountOf,
  type NativeStream,
  newNativeStream,
} from "../native/stream.ts";
import { Staging } from "./staging.ts";
import { turnsOfGpu } from "./transfer-turns.ts";
import { bytesOfPiece, checkNotFreed, type Piece, piecesOf, type Transfer } from "./transfer.ts";
import { waitForStream } from "./wait.ts";

// A transfer of a GPU's memory is staged: it passes, piece by piece, through pinned memory. Where
// the pinned pool has no room, CUDA stages by itself, which is slower.

const {
  allocated_memory_copy,
  allocated_memory_read,
  allocated_memory_write,
  cuda_stream_acquire,
  cuda_stream_release,
  cuda_stream_synchronize,
} = memoryLibrary;

/** Makes a transfer of a GPU's memory on a stream of its own, when its turn comes. */
export async function transferOnGpu(transfer: Transfer, deviceId: number): Promise<void> {
  await turnsOfGpu(deviceId).run(async () => {
    const stream = newNativeStream();
    checkStatus(cuda_stream_acquire(stream, deviceId));
    try {
      const errorCount = errorCountOf(stream);
      await transferOnGpuAfter(transfer, stream);
      checkErrorsSince(stream, errorCount);
    } finally {
      cuda_stream_release(stream);
    }
  });
}

/**
 * Makes a transfer of a GPU's memory on a stream, after what the stream was given before. The caller
 * looks whether errors of the stream's work were found meanwhile.
 */
export async function transferOnGpuAfter(transfer: Transfer, stream: NativeStream): Promise<void> {
  const staging = Staging.tryToAllocate(transfer.byteSize);
  const run = new GpuTransfer(transfer, stream, staging);
  let isOver = true;
  try {
    await run.run();
  } catch (error) {
    isOver = await run.isOverAfter(error);
    throw error;
  } finally {
    if (isOver) staging?.[Symbol.dispose]();
  }
}

class GpuTransfer {
  readonly #transfer: Transfer;
  readonly #stream: NativeStream;
  readonly #staging: Staging | null;
  readonly #errorCount: number;
  /** Whether the stream may have been given something that it has not done yet. */
  #isQueued = false;

  constructor(transfer: Transfer, stream: NativeStream, staging: Staging | null) {
    this.#transfer = transfer;
    this.#stream = stream;
    this.#staging = staging;
    this.#errorCount = errorCountOf(stream);
  }

  async run(): Promise<void> {
    if (this.#staging === null) await this.#moveUnstaged();
    else if (this.#transfer.direction === "write") await this.#writeStaged(this.#staging);
    else await this.#readStaged(this.#staging);
  }

  /**
   * Waits for what the stream was given, which may still be using the memory and the staging, and adds
   * the error of that to the error at hand. Returns false where CUDA cannot tell when that is over.
   */
  async isOverAfter(error: unknown): Promise<boolean> {
    if (!this.#isQueued) return true;
    try {
      await waitForStream(this.#stream);
      return true;
    } catch (another) {
      if (error instanceof Error && another instanceof Error) {
        error.message += `; ${another.message}`;
      }
    }
    // An error that comes with the first answer is told, and the second answer is that of the wait.
    const statuses = [0, 1].map(() => cuda_stream_synchronize(this.#stream));
    const isOver = statuses.some(
      (status) => status === memoryStatus.MEMORY_OK || status === memoryStatus.MEMORY_DEVICE_LOST,
    );
    if (!isOver)
      log.error(
        `${this.#transfer.description}: its pinned memory is kept, because CUDA cannot tell when the stream is done`,
      );
    return isOver;
  }

  async #writeStaged(staging: Staging): Promise<void> {
    for (const piece of piecesOf(this.#transfer)) {
      if (piece.offset > 0) await yieldToEventLoop();
      const slot = staging.slotOf(piece);
      if (slot.isInUse) await slot.unused(); // no await before the first piece is queued
      const bytes = bytesOfPiece(this.#transfer, piece);
      const { allocation } = staging;
      checkStatus(allocated_memory_write(allocation, slot.byteOffset, bytes, piece.byteSize, null));
      this.#queue((stream) => {
        const { allocation: target, byteOffset } = this.#transfer;
        const targetOffset = byteOffset + piece.offset;
        return allocated_memory_copy(
          target,
          targetOffset,
          allocation,
          slot.byteOffset,
          piece.byteSize,
          stream,
        );
      });
      slot.useOn(this.#stream);
    }
    await staging.unused();
  }

  async #readStaged(staging: Staging): Promise<void> {
    let previous: Piece | null = null;
    for (const piece of piecesOf(this.#transfer)) {
      this.#queueRead(staging, piece);
      if (previous !== null) {
        await this.#fetchPiece(staging, previous);
        await yieldToEventLoop();
      }
      previous = piece;
    }
    if (previous !== null) await this.#fetchPiece(staging, previous);
  }

  /** Queues the copy of a piece from the GPU to its slot. */
  #queueRead(staging: Staging, piece: Piece): void {
    checkNotFreed(this.#transfer);
    const slot = staging.slotOf(piece);
    this.#queue((stream) => {
      const { allocation: source, byteOffset } = this.#transfer;
      const sourceOffset = byteOffset + piece.offset;
      return allocated_memory_copy(
        staging.allocation,
        slot.byteOffset,
        source,
        sourceOffset,
        piece.byteSize,
        stream,
      );
    });
    slot.useOn(this.#stream);
  }

  /** Copies a piece from its slot to JS memory, once it is there. */
  async #fetchPiece(staging: Staging, piece: Piece): Promise<void> {
    const slot = staging.slotOf(piece);
    await slot.unused();
    // Somebody else may have found an error even before the slot's event was recorded.
    checkErrorsSince(this.#stream, this.#errorCount);
    const bytes = bytesOfPiece(this.#transfer, piece);
    checkStatus(
      allocated_memory_read(staging.allocation, slot.byteOffset, bytes, piece.byteSize, null),
    );
  }

  async #moveUnstaged(): Promise<void> {
    const { allocation, byteOffset, direction } = this.#transfer;
    const copy = direction === "write" ? allocated_memory_write : allocated_memory_read;
    for (const piece of piecesOf(this.#transfer)) {
      // Otherwise CUDA would block the thread until the stream has come here.
      await waitForStream(this.#stream);
      if (piece.offset > 0) await yieldToEventLoop();
      const bytes = bytesOfPiece(this.#transfer, piece);
      this.#queue((stream) =>
        copy(allocation, byteOffset + piece.offset, bytes, piece.byteSize, stream),
      );
    }
    await waitForStream(this.#stream);
  }

  /** @param call Queues something natively, and returns a `memory_status`. */
  #queue(call: (stream: NativeStream) => number): void {
    const status = call(this.#stream);
    checkStatus(status); // a copy that is refused is not under way
    this.#isQueued = true;
  }
}
