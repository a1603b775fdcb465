import { AllocatedMemory, copyBuffer } from "bun-cuda-memory";
import type { StoredTensor } from "./tensor-store.ts";

// Tensors on their way between HTTP and their memory. They pass, piece by piece, through a small
// staging memory: pinned, so that the GPU copies at full speed. A request needs no more JS memory
// for a large tensor than for a small one.

/** Neither a GPU nor the host has memory for a request. */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemoryError";
}

/** The client sent fewer bytes than it announced. */
export class CutOffError extends Error {
  override readonly name = "CutOffError";
}

function allocate(byteSize: number, memoryType: "GPU" | "CPU_PINNED"): AllocatedMemory {
  const memory = new AllocatedMemory(byteSize, memoryType);
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

/** Fills `tensor` with the chunks. Returns how many bytes came. */
async function fill(
  tensor: AllocatedMemory,
  chunks: AsyncIterable<Uint8Array>,
  staging: AllocatedMemory,
): Promise<number> {
  let copiedByteSize = 0;
  let stagedByteSize = 0;
  // Without a stream the bytes are in place when copyBuffer returns: staging can be used again.
  const copyStaged = () => {
    copyBuffer(tensor, staging, { targetOffset: copiedByteSize, byteSize: stagedByteSize });
    copiedByteSize += stagedByteSize;
    stagedByteSize = 0;
  };
  for await (const chunk of chunks) {
    for (let offset = 0; offset < chunk.byteLength;) {
      const part = chunk.subarray(offset, offset + staging.totalByteSize - stagedByteSize);
      staging.write(part, stagedByteSize);
      stagedByteSize += part.byteLength;
      offset += part.byteLength;
      if (stagedByteSize === staging.totalByteSize) copyStaged();
    }
  }
  copyStaged();
  return copiedByteSize;
}

/**
 * Streams a body into memory of its own, on GPU 0 where there is room. Whatever goes wrong, nothing
 * stays allocated.
 *
 * @param byteSize What the client announced.
 * @throws {CutOffError} where fewer bytes came.
 * @throws {OutOfMemoryError} where nothing can serve.
 */
export async function receiveTensor(
  body: ReadableStream<Uint8Array> | null,
  byteSize: number,
  stagingByteSize: number,
): Promise<AllocatedMemory> {
  const tensor = allocate(byteSize, "GPU");
  try {
    using staging = allocate(Math.min(byteSize, stagingByteSize), "CPU_PINNED");
    const receivedByteSize = await fill(tensor, chunksOf(body), staging);
    if (receivedByteSize < byteSize) {
      throw new CutOffError(`${byteSize} bytes were announced, ${receivedByteSize} came`);
    }
    return tensor;
  } catch (error) {
    tensor.free();
    throw error;
  }
}

/** Reads a tensor from its beginning to its end, a staging memory's size at a time. */
class TensorReader implements Disposable {
  readonly #source: AllocatedMemory;
  readonly #staging: AllocatedMemory;
  readonly #reading: Disposable;
  #offset = 0;

  constructor(tensor: StoredTensor, stagingByteSize: number) {
    this.#source = tensor.memory;
    this.#staging = allocate(Math.min(tensor.memory.totalByteSize, stagingByteSize), "CPU_PINNED");
    this.#reading = tensor.read();
  }

  get isDone(): boolean {
    return this.#offset === this.#source.totalByteSize;
  }

  /** The next bytes. After the last ones, and where it throws, everything is released. */
  next(): Uint8Array<ArrayBuffer> {
    try {
      const rest = this.#source.totalByteSize - this.#offset;
      const bytes = new Uint8Array(Math.min(rest, this.#staging.totalByteSize));
      const byteSize = bytes.byteLength;
      copyBuffer(this.#staging, this.#source, { sourceOffset: this.#offset, byteSize });
      this.#staging.read(bytes);
      this.#offset += byteSize;
      return bytes;
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#staging.free();
    this.#reading[Symbol.dispose]();
  }
}

/**
 * A tensor's bytes as the body of a response: at once where they fit the staging memory, otherwise
 * as a stream that reads on when the client has taken what was sent.
 *
 * The first piece is read here already, so that an error can still become a response.
 *
 * @param signal Aborted where the client goes away.
 * @throws {OutOfMemoryError} where there is no memory for staging.
 */
export function sendTensor(
  tensor: StoredTensor,
  stagingByteSize: number,
  signal: AbortSignal,
): Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> {
  const reader = new TensorReader(tensor, stagingByteSize);
  const first = reader.next();
  const release = () => reader[Symbol.dispose]();
  if (reader.isDone) {
    release();
    return first;
  }
  let pending: Uint8Array | null = first;
  // A stream that nobody begins to read is not cancelled; the signal comes in any case.
  signal.addEventListener("abort", release, { once: true });
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        // Where this throws, Bun breaks the connection off: the client does not take a part for all.
        controller.enqueue(pending ?? reader.next());
        pending = null;
        if (!reader.isDone) return;
        release();
        controller.close();
      },
      cancel: release,
    },
    { highWaterMark: 0 }, // nothing is read ahead of the client
  );
}
