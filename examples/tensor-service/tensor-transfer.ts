import { AllocatedMemory } from "bun-cuda-memory";
import type { StoredTensor } from "./tensor-store.ts";

// Tensors on their way between HTTP and their memory, piece by piece: a request needs no more JS
// memory for a large tensor than for a small one. While a GPU copies a piece the event loop serves
// other requests, and nothing more is taken from this client, or prepared for it.

/** Neither a GPU nor the host has memory for a tensor. */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemoryError";
}

/** The client sent fewer bytes than it announced. */
export class CutOffError extends Error {
  override readonly name = "CutOffError";
}

function allocate(byteSize: number): AllocatedMemory {
  const memory = new AllocatedMemory(byteSize, "GPU");
  if (memory.totalByteSize < byteSize) {
    throw new OutOfMemoryError(`there is no memory for ${byteSize} bytes`);
  }
  return memory;
}

/** Chunks of a request's body. Throws {@link CutOffError} where the connection breaks. */
async function* chunksOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (body === null) return;
  try {
    yield* body;
  } catch (error) {
    throw new CutOffError(`the body could not be read: ${String(error)}`, { cause: error });
  }
}

/**
 * The same bytes in larger pieces, since each costs a wait for the GPU. All are views of one buffer:
 * a piece is there until the next is asked for.
 */
async function* inPieces(
  chunks: AsyncIterable<Uint8Array>,
  pieceByteSize: number,
): AsyncGenerator<Uint8Array> {
  const piece = new Uint8Array(pieceByteSize);
  let filledByteSize = 0;
  for await (const chunk of chunks) {
    for (let offset = 0; offset < chunk.byteLength;) {
      const part = chunk.subarray(offset, offset + pieceByteSize - filledByteSize);
      piece.set(part, filledByteSize);
      filledByteSize += part.byteLength;
      offset += part.byteLength;
      if (filledByteSize < pieceByteSize) continue;
      yield piece;
      filledByteSize = 0;
    }
  }
  yield piece.subarray(0, filledByteSize);
}

/**
 * Streams a body into memory of its own, on GPU 0 where there is room. Whatever goes wrong, nothing
 * stays allocated.
 *
 * @param byteSize What the client announced.
 * @param pieceByteSize Bytes that it has in JS memory, and moves at once.
 * @throws {CutOffError} where fewer bytes came.
 * @throws {OutOfMemoryError} where nothing can serve.
 */
export async function receiveTensor(
  body: ReadableStream<Uint8Array> | null,
  byteSize: number,
  pieceByteSize: number,
): Promise<AllocatedMemory> {
  const tensor = allocate(byteSize);
  try {
    let receivedByteSize = 0;
    for await (const piece of inPieces(chunksOf(body), Math.min(byteSize, pieceByteSize))) {
      await tensor.writeAsync(piece, receivedByteSize);
      receivedByteSize += piece.byteLength;
    }
    if (receivedByteSize < byteSize) {
      throw new CutOffError(`${byteSize} bytes were announced, ${receivedByteSize} came`);
    }
    return tensor;
  } catch (error) {
    tensor.free();
    throw error;
  }
}

/** Keeps the tensor's memory from the first piece on, until it has ended or is made to. */
async function* piecesOf(
  tensor: StoredTensor,
  pieceByteSize: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  using _reading = tensor.read();
  const { memory } = tensor;
  const byteSize = memory.totalByteSize;
  for (let offset = 0; offset < byteSize; offset += pieceByteSize) {
    const piece = new Uint8Array(Math.min(pieceByteSize, byteSize - offset));
    await memory.readAsync(piece, offset);
    yield piece;
  }
}

/**
 * A tensor's bytes as the body of a response: at once where they are one piece, otherwise as a
 * stream that reads on when the client has taken what was sent.
 *
 * The first piece is read here already, so that an error can still become a response.
 *
 * @param signal Aborted where the client goes away.
 */
export async function sendTensor(
  tensor: StoredTensor,
  pieceByteSize: number,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array>> {
  const isOnePiece = tensor.memory.totalByteSize <= pieceByteSize;
  const pieces = piecesOf(tensor, pieceByteSize);
  // Ends it when a read that is under way is over: until then a GPU uses the memory.
  const release = () => void pieces.return();
  // A stream that nobody begins to read is not cancelled; the signal comes in any case.
  signal.addEventListener("abort", release, { once: true });
  const first = await pieces.next();
  if (isOnePiece) {
    release();
    return first.value ?? new Uint8Array();
  }
  let pending: typeof first | null = first;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        // Where this throws, Bun breaks the connection off: the client does not take a part for all.
        const { value } = pending ?? (await pieces.next());
        pending = null;
        if (value === undefined) controller.close();
        else controller.enqueue(value);
      },
      cancel: release,
    },
    { highWaterMark: 0 }, // nothing is read ahead of the client
  );
}
