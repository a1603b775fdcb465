import { yieldToEventLoop } from "../native/event-loop.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { checkStatus } from "../native/status.ts";
import type { NativeStream } from "../native/stream.ts";
import { hostTurns } from "./transfer-turns.ts";
import { bytesOfPiece, piecesOf, type Transfer } from "./transfer.ts";
import { waitForStream } from "./wait.ts";

const { allocated_memory_read, allocated_memory_write } = memoryLibrary;

/** Makes a transfer of host memory, when its turn comes. */
export async function transferOnHost(transfer: Transfer): Promise<void> {
  await hostTurns.run(() => copyPieces(transfer), transfer.signal);
}

/** Makes a transfer of host memory out of turn. One of one piece is over when this returns. */
export async function transferOnHostNow(transfer: Transfer): Promise<void> {
  await copyPieces(transfer);
}

/** Makes a transfer of host memory, after what the stream was given before. */
export async function transferOnHostAfter(transfer: Transfer, stream: NativeStream): Promise<void> {
  await waitForStream(stream, transfer.signal);
  await copyPieces(transfer);
}

async function copyPieces(transfer: Transfer): Promise<void> {
  const copy = transfer.direction === "write" ? allocated_memory_write : allocated_memory_read;
  const pieces = [...piecesOf(transfer)];
  if (transfer.isBackward) pieces.reverse();
  for (const piece of pieces) {
    if (piece !== pieces[0]) await yieldToEventLoop();
    const bytes = bytesOfPiece(transfer, piece);
    const { allocation, byteOffset } = transfer;
    checkStatus(copy(allocation, byteOffset + piece.offset, bytes, piece.byteSize, null));
  }
}
