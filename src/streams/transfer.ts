import { MemoryError } from "../memory-error.ts";
import {
  checkStatus,
  freeAllocation,
  memoryLibrary,
  newAllocation,
} from "../native/memory-library.ts";
import { type NativeStream, newNativeStream, StreamPoint } from "../native/stream.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { waitForStream, waitUntil, yieldToEventLoop } from "./wait.ts";

// Bytes on their way between JS memory and a memory of any type, without blocking the event loop.
//
// What a GPU takes part in is staged: it passes, piece by piece, through two slots of pinned memory,
// so that one is filled (or emptied) while the GPU works on the other. Where the pinned pool has no
// room, CUDA stages by itself, which is slower. Either way the thread copies one piece of a transfer
// in each turn of the event loop. Only this thread ever touches JS memory, and looks each time
// whether it is still there.

const {
  allocated_memory_copy,
  allocated_memory_read,
  allocated_memory_write,
  cuda_stream_release,
  cuda_stream_synchronize,
  cuda_stream_acquire,
  pinned_memory_try_alloc,
} = memoryLibrary;

/** What one turn of the event loop copies at the most: some tenths of a millisecond. Less is slower. */
export const pieceByteSize = 4 * 1024 * 1024;

/**
 * More transfers at once do not move more bytes; they only take more pinned memory, and more of each
 * turn of the event loop.
 */
const activeTransferCountMax = 4;

/** One end of a transfer in JS memory, the other in a memory; each from its beginning. */
export interface Transfer {
  /** What the transfer is, for errors. */
  description: string;
  direction: "write" | "read";
  /** In JS memory. Fewer than {@link byteSize} once their buffer is detached or has shrunk. */
  bytes: Uint8Array;
  byteSize: number;
  /** A `struct memory_allocation`. */
  allocation: Float64Array;
  /** Where in the memory. */
  byteOffset: number;
  /** Whether the last piece is to come first. Of host memory only. */
  isBackward: boolean;
  /** Whether the memory was freed meanwhile. */
  isFreed(): boolean;
}

/** A piece of a transfer. */
interface Piece {
  offset: number;
  byteSize: number;
}

function* piecesOf(transfer: Transfer): Generator<Piece> {
  const { byteSize } = transfer;
  for (let offset = 0; offset < byteSize; offset += pieceByteSize) {
    yield { offset, byteSize: Math.min(pieceByteSize, byteSize - offset) };
  }
}

function requireMemory({ description, isFreed }: Transfer): void {
  if (!isFreed()) return;
  throw new MemoryError("UNAVAILABLE", `${description}: the memory was freed meanwhile`);
}

/** The JS side of a piece, which is to be moved now. */
function bytesOf(transfer: Transfer, piece: Piece): Uint8Array {
  requireMemory(transfer);
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

/** Of host memory, after what the stream was given before. */
export async function transferOnHost(transfer: Transfer, stream?: NativeStream): Promise<void> {
  if (stream !== undefined) await waitForStream(stream);
  const copy = transfer.direction === "write" ? allocated_memory_write : allocated_memory_read;
  const pieces = [...piecesOf(transfer)];
  if (transfer.isBackward) pieces.reverse();
  for (const piece of pieces) {
    if (piece !== pieces[0]) await yieldToEventLoop();
    const bytes = bytesOf(transfer, piece);
    const { allocation, byteOffset } = transfer;
    checkStatus(copy(allocation, byteOffset + piece.offset, bytes, piece.byteSize, null));
  }
}

/** Of a GPU's memory, in the order of a stream. */
export async function transferOnStream(transfer: Transfer, stream: NativeStream): Promise<void> {
  using staging = Staging.tryToTake(transfer.byteSize);
  try {
    if (staging === null) await transferUnstaged(transfer, stream);
    else if (transfer.direction === "write") await writeStaged(transfer, stream, staging);
    else await readStaged(transfer, stream, staging);
  } catch (error) {
    // The GPU may still be using what is given back next.
    await allOver(stream, error);
    throw error;
  }
}

/** Waits for what the stream was given. What it fails with is added to the error at hand. */
async function allOver(stream: NativeStream, error: unknown): Promise<void> {
  try {
    await waitForStream(stream);
  } catch (another) {
    if (error instanceof Error && another instanceof Error) {
      error.message += `; ${another.message}`;
    }
    cuda_stream_synchronize(stream); // CUDA could not tell
  }
}

/** Too many transfers at once wait for each other. */
class Turns {
  #activeCount = 0;
  readonly #waiting: (() => void)[] = [];

  async take(transfer: () => Promise<void>): Promise<void> {
    if (this.#activeCount === activeTransferCountMax) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise; // whoever resolves it leaves its place
    } else {
      this.#activeCount++;
    }
    try {
      await transfer();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#activeCount--;
      else next();
    }
  }
}

const hostTurns = new Turns();
const gpuTurns = new Turns();

/** Of host memory. */
export async function transferOnHostInTurn(transfer: Transfer): Promise<void> {
  await hostTurns.take(() => transferOnHost(transfer));
}

/** Of a GPU's memory, on a stream of its own. */
export async function transferOnOwnStream(transfer: Transfer, deviceId: number): Promise<void> {
  await gpuTurns.take(async () => {
    const stream = newNativeStream();
    checkStatus(cuda_stream_acquire(stream, deviceId));
    try {
      await transferOnStream(transfer, stream);
    } finally {
      cuda_stream_release(stream);
    }
  });
}

/** A part of the staging memory, which a GPU may be using. */
class Slot {
  readonly byteOffset: number;
  #point: StreamPoint | null = null;

  constructor(byteOffset: number) {
    this.byteOffset = byteOffset;
  }

  /** The stream uses the slot until it has done what it was given so far. */
  usedBy(stream: NativeStream): void {
    this.#point = new StreamPoint(stream);
  }

  get isUsed(): boolean {
    return this.#point !== null;
  }

  async free(): Promise<void> {
    const point = this.#point;
    if (point === null) return;
    await waitUntil(() => point.hasPassed());
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#point?.[Symbol.dispose]();
    this.#point = null;
  }
}

/** Pinned memory of one transfer: two slots, or one where that is enough. */
class Staging implements Disposable {
  readonly allocation: Float64Array;
  readonly #slots: Slot[];

  private constructor(allocation: Float64Array, slotCount: number) {
    this.allocation = allocation;
    this.#slots = Array.from({ length: slotCount }, (_, i) => new Slot(i * pieceByteSize));
  }

  /** `null` where the pinned pool has no room, or is none. */
  static tryToTake(byteSize: number): Staging | null {
    const allocation = newAllocation();
    const taken = Math.min(byteSize, 2 * pieceByteSize);
    if (pinned_memory_try_alloc(allocation, taken) !== memoryStatus.MEMORY_OK) return null;
    return new Staging(allocation, taken > pieceByteSize ? 2 : 1);
  }

  slotOf(piece: Piece): Slot {
    return this.#slots[(piece.offset / pieceByteSize) % this.#slots.length]!;
  }

  async allFree(): Promise<void> {
    for (const slot of this.#slots) await slot.free();
  }

  [Symbol.dispose](): void {
    for (const slot of this.#slots) slot[Symbol.dispose]();
    freeAllocation(this.allocation);
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
    if (slot.isUsed) await slot.free(); // the first piece is queued before the caller goes on
    const bytes = bytesOf(transfer, piece);
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
    slot.usedBy(stream);
  }
  await staging.allFree();
}

async function readStaged(
  transfer: Transfer,
  stream: NativeStream,
  staging: Staging,
): Promise<void> {
  const queue = (piece: Piece) => {
    requireMemory(transfer);
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
    slot.usedBy(stream);
  };
  const fetch = async (piece: Piece) => {
    const slot = staging.slotOf(piece);
    await slot.free();
    const bytes = bytesOf(transfer, piece);
    checkStatus(
      allocated_memory_read(staging.allocation, slot.byteOffset, bytes, piece.byteSize, null),
    );
  };
  let previous: Piece | null = null;
  for (const piece of piecesOf(transfer)) {
    queue(piece);
    if (previous !== null) {
      await fetch(previous);
      await yieldToEventLoop();
    }
    previous = piece;
  }
  if (previous !== null) await fetch(previous);
}

async function transferUnstaged(transfer: Transfer, stream: NativeStream): Promise<void> {
  const copy = transfer.direction === "write" ? allocated_memory_write : allocated_memory_read;
  for (const piece of piecesOf(transfer)) {
    // CUDA would block the thread until the stream has come here.
    await waitForStream(stream);
    if (piece.offset > 0) await yieldToEventLoop();
    const bytes = bytesOf(transfer, piece);
    const { allocation, byteOffset } = transfer;
    checkStatus(copy(allocation, byteOffset + piece.offset, bytes, piece.byteSize, stream));
  }
  await waitForStream(stream);
}
