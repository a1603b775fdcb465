import { memoryLibrary } from "../native/memory-library.ts";
import { checkStatus } from "../native/status.ts";
import { type NativeStream, newNativeStream } from "../native/stream.ts";
import { Semaphore } from "./semaphore.ts";
import { Staging } from "./staging.ts";
import {
  activeTransferCountMax,
  bytesOfPiece,
  checkNotFreed,
  type Piece,
  piecesOf,
  type Transfer,
} from "./transfer.ts";
import { waitForStream, yieldToEventLoop } from "./wait.ts";

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

const semaphore = new Semaphore(activeTransferCountMax);

/** Makes a transfer of a GPU's memory on a stream of its own, when its turn comes. */
export async function transferOnGpu(transfer: Transfer, deviceId: number): Promise<void> {
  await semaphore.run(async () => {
    const stream = newNativeStream();
    checkStatus(cuda_stream_acquire(stream, deviceId));
    try {
      await transferOnGpuAfter(transfer, stream);
    } finally {
      cuda_stream_release(stream);
    }
  });
}

/** Makes a transfer of a GPU's memory on a stream, after what the stream was given before. */
export async function transferOnGpuAfter(transfer: Transfer, stream: NativeStream): Promise<void> {
  using staging = Staging.tryToAllocate(transfer.byteSize);
  try {
    if (staging === null) await transferUnstaged(transfer, stream);
    else if (transfer.direction === "write") await writeStaged(transfer, stream, staging);
    else await readStaged(transfer, stream, staging);
  } catch (error) {
    // The staging memory is freed next, and the GPU may still be using it.
    await waitAfterError(stream, error);
    throw error;
  }
}

/** Waits for what the stream was given. Adds the error of that to the error at hand. */
async function waitAfterError(stream: NativeStream, error: unknown): Promise<void> {
  try {
    await waitForStream(stream);
  } catch (another) {
    if (error instanceof Error && another instanceof Error) {
      error.message += `; ${another.message}`;
    }
    cuda_stream_synchronize(stream); // because CUDA could not tell when the stream is done
  }
}

async function writeStaged(
  transfer: Transfer,
  stream: NativeStream,
  staging: Staging,
): Promise<void> {
  for (const piece of piecesOf(transfer)) {
    if (piece.offset > 0) await yieldToEventLoop();
    const slot = staging.slotOf(piece);
    if (slot.isInUse) await slot.unused(); // no await before the first piece is queued
    const bytes = bytesOfPiece(transfer, piece);
    checkStatus(
      allocated_memory_write(staging.allocation, slot.byteOffset, bytes, piece.byteSize, null),
    );
    checkStatus(
      allocated_memory_copy(
        transfer.allocation,
        transfer.byteOffset + piece.offset,
        staging.allocation,
        slot.byteOffset,
        piece.byteSize,
        stream,
      ),
    );
    slot.useOn(stream);
  }
  await staging.unused();
}

async function readStaged(
  transfer: Transfer,
  stream: NativeStream,
  staging: Staging,
): Promise<void> {
  let previous: Piece | null = null;
  for (const piece of piecesOf(transfer)) {
    queueRead(transfer, stream, staging, piece);
    if (previous !== null) {
      await fetchPiece(transfer, staging, previous);
      await yieldToEventLoop();
    }
    previous = piece;
  }
  if (previous !== null) await fetchPiece(transfer, staging, previous);
}

/** Queues the copy of a piece from the GPU to its slot. */
function queueRead(transfer: Transfer, stream: NativeStream, staging: Staging, piece: Piece): void {
  checkNotFreed(transfer);
  const slot = staging.slotOf(piece);
  checkStatus(
    allocated_memory_copy(
      staging.allocation,
      slot.byteOffset,
      transfer.allocation,
      transfer.byteOffset + piece.offset,
      piece.byteSize,
      stream,
    ),
  );
  slot.useOn(stream);
}

/** Copies a piece from its slot to JS memory, once it is there. */
async function fetchPiece(transfer: Transfer, staging: Staging, piece: Piece): Promise<void> {
  const slot = staging.slotOf(piece);
  await slot.unused();
  const bytes = bytesOfPiece(transfer, piece);
  checkStatus(
    allocated_memory_read(staging.allocation, slot.byteOffset, bytes, piece.byteSize, null),
  );
}

async function transferUnstaged(transfer: Transfer, stream: NativeStream): Promise<void> {
  const copy = transfer.direction === "write" ? allocated_memory_write : allocated_memory_read;
  for (const piece of piecesOf(transfer)) {
    // Otherwise CUDA would block the thread until the stream has come here.
    await waitForStream(stream);
    if (piece.offset > 0) await yieldToEventLoop();
    const bytes = bytesOfPiece(transfer, piece);
    const { allocation, byteOffset } = transfer;
    checkStatus(copy(allocation, byteOffset + piece.offset, bytes, piece.byteSize, stream));
  }
  await waitForStream(stream);
}
