import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { pause, yieldToEventLoop } from "../native/event-loop.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { checkStatus, nativeError } from "../native/status.ts";
import {
  checkErrorsSince,
  errorCountOf,
  type NativeStream,
  newNativeStream,
} from "../native/stream.ts";
import { type Slot, Staging } from "./staging.ts";
import { turnsOfGpu } from "./transfer-turns.ts";
import { bytesOfPiece, checkGoesOn, type Piece, piecesOf, type Transfer } from "./transfer.ts";
import { waitForStream, waitUntil } from "./wait.ts";

// A transfer of a GPU's memory is staged: it passes, piece by piece, through pinned memory. Where
// the pinned pool has no room, CUDA stages by itself, which is slower.

const {
  allocated_memory_copy,
  allocated_memory_read,
  allocated_memory_write,
  cuda_stream_acquire,
  cuda_stream_release,
} = memoryLibrary;

/** Makes a transfer of a GPU's memory on a stream of its own, when its turn comes. */
export async function transferOnGpu(transfer: Transfer, deviceId: number): Promise<void> {
  await turnsOfGpu(deviceId).run(async () => {
    checkGoesOn(transfer);
    await transferOnGpuNow(transfer, deviceId);
  }, transfer.signal);
}

/** Makes a transfer of a GPU's memory on a stream of its own, out of turn. */
export async function transferOnGpuNow(transfer: Transfer, deviceId: number): Promise<void> {
  const stream = newNativeStream();
  checkStatus(cuda_stream_acquire(stream, deviceId));
  try {
    await transferOnGpuAfter(transfer, stream);
  } finally {
    if (!transfer.isStuck) cuda_stream_release(stream);
  }
}

/** Makes a transfer of a GPU's memory on a stream, after what the stream was given before. */
export async function transferOnGpuAfter(transfer: Transfer, stream: NativeStream): Promise<void> {
  checkGoesOn(transfer);
  const staging = Staging.tryToAllocate(transfer.byteSize);
  const run = new GpuTransfer(transfer, stream, staging);
  try {
    await run.run();
  } catch (error) {
    transfer.isStuck = !(await run.isOverAfter(error));
    if (transfer.isStuck) log.error("unreleased", stuckMessage(transfer));
    throw error;
  } finally {
    if (!transfer.isStuck) staging?.[Symbol.dispose]();
  }
}

const stuckMessage = ({ description }: Transfer) =>
  `${description}: its memory is kept, because CUDA cannot tell when the stream is done`;

/** How often CUDA is asked when the stream is done, with longer and longer pauses, for a second in all. */
const attemptCountMax = 10;

class GpuTransfer {
  readonly #transfer: Transfer;
  readonly #stream: NativeStream;
  readonly #staging: Staging | null;
  readonly #errorCount: number;
  /** Whether the stream has been given something since the last point that was marked. */
  #isUnmarked = false;

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
    if (!this.#isUnmarked) return await this.#isStagingOver();
    for (let attempt = 0; attempt < attemptCountMax; attempt++) {
      if (attempt > 0) await pause(2 ** attempt);
      try {
        await waitForStream(this.#stream);
        return true;
      } catch (another) {
        const isLost = another instanceof MemoryError && another.code === "DEVICE_LOST";
        if (isLost) return true; // nothing works on a GPU any more
        if (attempt === 0) this.#addMessage(error, another);
      }
    }
    return false;
  }

  /** Adds to the error at hand; the reason of a signal is the user's, and what else fails is logged. */
  #addMessage(error: unknown, another: unknown): void {
    if (!(error instanceof Error && another instanceof Error)) return;
    if (this.#transfer.signal?.aborted)
      log.error("stream", `${this.#transfer.description}: ${another.message}`);
    else error.message += `; ${another.message}`;
  }

  async #isStagingOver(): Promise<boolean> {
    const staging = this.#staging;
    if (staging === null) return true;
    const errorCountMax = errorCountOf(this.#stream) + attemptCountMax;
    let isOver = false; // an answer stands: CUDA may fail when it is asked once more
    const isKnownOver = () => (isOver = staging.isOver());
    await waitUntil(() => isKnownOver() || errorCountOf(this.#stream) > errorCountMax);
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
      this.#mark(slot);
    }
    await staging.unused();
    this.#checkErrors();
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
    checkGoesOn(this.#transfer);
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
    this.#mark(slot);
  }

  /** Copies a piece from its slot to JS memory, once it is there. */
  async #fetchPiece(staging: Staging, piece: Piece): Promise<void> {
    const slot = staging.slotOf(piece);
    await slot.unused();
    this.#checkErrors(); // before bytes are taken that may never have come
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
      await this.#waitForStream();
      if (piece.offset > 0) await yieldToEventLoop();
      const bytes = bytesOfPiece(this.#transfer, piece);
      this.#queue((stream) =>
        copy(allocation, byteOffset + piece.offset, bytes, piece.byteSize, stream),
      );
    }
    await this.#waitForStream();
    this.#checkErrors();
  }

  /**
   * An event tells of errors that were found since it was recorded, and somebody else may have found
   * one in the moment between the copy and the event.
   */
  #checkErrors(): void {
    checkErrorsSince(this.#stream, this.#errorCount);
  }

  async #waitForStream(): Promise<void> {
    await waitForStream(this.#stream, this.#transfer.signal);
    this.#isUnmarked = false;
  }

  #mark(slot: Slot): void {
    slot.useOn(this.#stream);
    this.#isUnmarked = false;
  }

  /** @param call Queues something natively, and returns a `memory_status`. */
  #queue(call: (stream: NativeStream) => number): void {
    const wasUnmarked = this.#isUnmarked;
    this.#isUnmarked = true;
    const status = call(this.#stream);
    if (status < memoryStatus.MEMORY_OK) {
      this.#isUnmarked = wasUnmarked; // a copy that is refused is not under way
      throw nativeError(status);
    }
  }
}
