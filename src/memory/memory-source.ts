import { checkOptions, invalidArgument, isWholeNumber } from "../arguments.ts";
import { MemoryError } from "../memory-error.ts";
import { type CudaStream, streamStateOf } from "../streams/cuda-stream.ts";
import type { StreamState } from "../streams/stream-state.ts";
import { AbortableWait, checkNotAborted, checkSignal } from "../abort-signal.ts";
import { bytesOf } from "./js-bytes.ts";

const operation = "writeFrom";

/** Where {@link MutableMemory.writeFrom} has its bytes from. */
export type MemorySource = Blob | ReadableStream<Uint8Array> | Request | Response;

/** Options of {@link MutableMemory.writeFrom}. */
export interface WriteFromOptions {
  /** Where the first byte goes. Default 0. */
  byteOffset?: number | undefined;
  /** Ends it: the promise is rejected with the signal's reason, and the source is cancelled. */
  signal?: AbortSignal | undefined;
  /** Is called with how many bytes are in the memory already, again and again. */
  onProgress?: ((byteSize: number) => void) | undefined;
  /** As for {@link MutableMemory.writeAsync}, for all that the source has. */
  stream?: CudaStream | undefined;
}

/** A stream of bytes that is to be written, as it was asked for. */
export interface SourceRequest {
  /** Begins to read; `null` where there are no bytes, as in a GET request. */
  readonly open: () => ReadableStream<Uint8Array> | null;
  /** The bytes that there are, where that is known. */
  readonly byteSize: number | null;
  readonly byteOffset: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: ((byteSize: number) => void) | undefined;
  readonly streamState: StreamState | null;
}

/**
 * @throws {MemoryError} `INVALID_ARG` for a source or options that are not what they have to be, and
 * for a source that somebody reads or has read.
 */
export function sourceRequestOf(
  source: MemorySource,
  options: WriteFromOptions | undefined,
): SourceRequest {
  const {
    byteOffset = 0,
    signal,
    onProgress,
    stream,
  } = checkOptions(operation, options, ["byteOffset", "signal", "onProgress", "stream"]);
  if (!isWholeNumber(byteOffset)) {
    throw invalidArgument(operation, "byteOffset", "a whole number of bytes from 0", byteOffset);
  }
  checkSignal(operation, signal);
  if (onProgress !== undefined && typeof onProgress !== "function") {
    throw invalidArgument(operation, "onProgress", "a function", onProgress);
  }
  const streamState = stream === undefined ? null : streamStateOf(operation, stream);
  return { ...checkSource(source), byteOffset, signal, onProgress, streamState };
}

/** @throws {MemoryError} `INVALID_ARG` for what is no source, or is in use. */
function checkSource(source: MemorySource): Pick<SourceRequest, "open" | "byteSize"> {
  if (source instanceof Blob) {
    // Of a pipe, say, nobody knows.
    const byteSize = isWholeNumber(source.size) ? source.size : null;
    return { open: () => source.stream(), byteSize };
  }
  const isMessage = source instanceof Request || source instanceof Response;
  if (!isMessage && !(source instanceof ReadableStream)) {
    const expected = "a Blob, a ReadableStream, a Request or a Response";
    throw invalidArgument(operation, "source", expected, source);
  }
  if (isMessage ? source.bodyUsed || source.body?.locked : source.locked) {
    throw new MemoryError("INVALID_ARG", `${operation}: somebody reads the source, or has read it`);
  }
  return { open: () => (isMessage ? source.body : source), byteSize: null };
}

/**
 * Smaller chunks are put together as far as they are there already, since each transfer costs some
 * microseconds. What is copied here can be collected before the GPU has it.
 */
const pieceByteSize = 256 * 1024;

/**
 * One that was of use and is of none now, for whoever comes next: arrays of that size for each source
 * would have the collector at work again and again.
 */
let sparePiece: Uint8Array | null = null;

function takePiece(): Uint8Array {
  const piece = sparePiece ?? new Uint8Array(pieceByteSize);
  sparePiece = null;
  return piece;
}

/** Resolves after what is resolved already. */
const atOnce = Promise.resolve();

/**
 * Writes all that a source has, chunk by chunk. The next is asked for when the last is in the memory: a
 * source may have one buffer for all, and no bytes pile up before a slow GPU. Measured with 16 bodies at
 * once, more chunks under way are no faster and take more memory. Nothing of the pools is held while the
 * source makes this wait.
 *
 * @param room The most bytes that the source may have.
 * @param write Writes some of them, at an offset from the first.
 * @returns How many bytes there were.
 * @throws {MemoryError} `OUT_OF_RANGE` where the source has more than there is room for. Also throws
 * what `write` and the source throw, and the signal's reason. In all these cases the source is
 * cancelled.
 */
export async function writeSource(
  request: SourceRequest,
  room: number,
  write: (bytes: Uint8Array, offset: number) => Promise<void>,
): Promise<number> {
  const stream = request.open();
  if (stream === null) {
    checkNotAborted(request.signal);
    return 0;
  }
  const reader: Reader = stream.getReader();
  using wait = new AbortableWait(request.signal);
  // It has this to do as a whole, also where it is disposed of or dropped between two chunks.
  request.streamState?.acquire(operation);
  try {
    if ((request.byteSize ?? 0) > room) throw tooMuch(room, request.byteOffset);
    const written = await new SourceWriter(request, reader, wait, room, write).run();
    reader.releaseLock();
    return written;
  } catch (error) {
    // The source's own end may never come, and what it says is of no use.
    reader.cancel(error).catch(() => {});
    throw error;
  } finally {
    request.streamState?.release();
  }
}

function tooMuch(room: number, byteOffset: number): MemoryError {
  return new MemoryError(
    "OUT_OF_RANGE",
    `${operation}: the source has more than the ${room} bytes that there are from offset ` +
      `${byteOffset} on`,
  );
}

/** What reads a stream, whichever of the runtime's types the stream has. */
interface Reader {
  read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
  cancel(reason: unknown): Promise<void>;
  releaseLock(): void;
}

class SourceWriter {
  readonly #request: SourceRequest;
  readonly #reader: Reader;
  readonly #wait: AbortableWait;
  readonly #room: number;
  readonly #write: (bytes: Uint8Array, offset: number) => Promise<void>;
  #writtenByteSize = 0;
  /** Small chunks that are not written yet. */
  #piece: Uint8Array | null = null;
  #pieceByteSize = 0;

  constructor(
    request: SourceRequest,
    reader: Reader,
    wait: AbortableWait,
    room: number,
    write: (bytes: Uint8Array, offset: number) => Promise<void>,
  ) {
    this.#request = request;
    this.#reader = reader;
    this.#wait = wait;
    this.#room = room;
    this.#write = write;
  }

  async run(): Promise<number> {
    for (;;) {
      const { done, value } = await this.#read();
      if (done) break;
      await this.#take(bytesOf(operation, "a chunk of the source", value));
    }
    await this.#flush();
    sparePiece = this.#piece ?? sparePiece; // nothing is written from it any more
    return this.#writtenByteSize;
  }

  /** Reads a chunk. What was put together is written first where the next is not there yet. */
  async #read(): Promise<{ done: boolean; value?: Uint8Array | undefined }> {
    const next = this.#reader.read();
    if (this.#pieceByteSize > 0) {
      const first = await this.#wait.until(Promise.race([next, atOnce]));
      if (first !== undefined) return first;
      next.catch(() => {}); // it is looked at below, unless writing fails
      await this.#flush();
    }
    return await this.#wait.until(next);
  }

  async #take(chunk: Uint8Array): Promise<void> {
    const rest = this.#room - this.#writtenByteSize - this.#pieceByteSize;
    if (chunk.byteLength > rest) throw tooMuch(this.#room, this.#request.byteOffset);
    if (this.#pieceByteSize + chunk.byteLength > pieceByteSize) await this.#flush();
    if (chunk.byteLength >= pieceByteSize) return await this.#writeNow(chunk);
    this.#piece ??= takePiece();
    this.#piece.set(chunk, this.#pieceByteSize);
    this.#pieceByteSize += chunk.byteLength;
  }

  async #flush(): Promise<void> {
    const byteSize = this.#pieceByteSize;
    if (byteSize === 0) return;
    this.#pieceByteSize = 0;
    await this.#writeNow(this.#piece!.subarray(0, byteSize));
  }

  async #writeNow(bytes: Uint8Array): Promise<void> {
    const { byteLength } = bytes;
    await this.#wait.until(this.#write(bytes, this.#writtenByteSize));
    this.#writtenByteSize += byteLength;
    this.#request.onProgress?.(this.#writtenByteSize);
  }
}
