import { checkOptions, invalidArgument, isWholeNumber } from "../arguments.ts";
import { checkSignal } from "../abort-signal.ts";

const operation = "readable";

/** Options of {@link MutableMemory.readable}; offsets and sizes are in bytes. */
export interface ReadableOptions {
  /** Where the first byte comes from. Default 0. */
  byteOffset?: number | undefined;
  /** The number of bytes. Default: all from `byteOffset` on. */
  byteSize?: number | undefined;
  /** Errors the stream, with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** The most bytes that a chunk has. Default 256 KiB. */
  chunkByteSize?: number | undefined;
}

/**
 * Large enough that what a chunk costs is little beside its bytes, and small enough that many streams
 * need little memory.
 */
const defaultChunkByteSize = 256 * 1024;

/** What a byte stream gives its source; the runtime's types leave it out. */
interface ByteStreamController {
  readonly byobRequest: { readonly view: ArrayBufferView; respond(byteSize: number): void } | null;
  enqueue(chunk: Uint8Array): void;
  close(): void;
  error(reason: unknown): void;
}

/** The options of a stream of bytes; its size is `undefined` where all is to be read. */
export interface ReadableRequest {
  readonly byteOffset: number;
  readonly byteSize: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly chunkByteSize: number;
}

/** @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be. */
export function readableRequestOf(options: ReadableOptions | undefined): ReadableRequest {
  const {
    byteOffset = 0,
    byteSize,
    signal,
    chunkByteSize = defaultChunkByteSize,
  } = checkOptions(operation, options, ["byteOffset", "byteSize", "signal", "chunkByteSize"]);
  for (const [name, value] of Object.entries({ byteOffset, byteSize })) {
    if (value !== undefined && !isWholeNumber(value)) {
      throw invalidArgument(operation, name, "a whole number of bytes from 0", value);
    }
  }
  if (!isWholeNumber(chunkByteSize) || chunkByteSize === 0) {
    throw invalidArgument(
      operation,
      "chunkByteSize",
      "a whole number of bytes from 1",
      chunkByteSize,
    );
  }
  checkSignal(operation, signal);
  return { byteOffset, byteSize, signal, chunkByteSize };
}

/**
 * Makes a stream of bytes, each of which is read when somebody wants it.
 *
 * @param read Fills some bytes, from an offset from the first on.
 */
export function newReadable(
  { signal, chunkByteSize }: ReadableRequest,
  byteSize: number,
  read: (bytes: Uint8Array, offset: number) => Promise<void>,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  let offset = 0;
  let isOver = false;
  let onAbort: () => void;
  const end = () => {
    isOver = true;
    signal?.removeEventListener("abort", onAbort);
  };
  const source = {
    type: "bytes" as const,
    start(controller: ByteStreamController) {
      onAbort = () => {
        end();
        controller.error(signal!.reason);
      };
      signal?.addEventListener("abort", onAbort);
      if (signal?.aborted) onAbort();
      else if (byteSize === 0) {
        end();
        controller.close();
      }
    },
    async pull(controller: ByteStreamController) {
      const wanted = controller.byobRequest;
      const rest = Math.min(chunkByteSize, byteSize - offset);
      const bytes = roomFor(rest, wanted?.view);
      try {
        await read(bytes, offset);
      } catch (error) {
        end();
        throw error;
      }
      if (isOver) return; // aborted or cancelled meanwhile
      offset += bytes.byteLength;
      if (wanted === null) controller.enqueue(bytes);
      else wanted.respond(bytes.byteLength);
      if (offset < byteSize) return;
      end();
      controller.close();
    },
    cancel: () => end(),
  };
  // Nothing is read ahead of whoever reads.
  return new ReadableStream(source as unknown as Bun.UnderlyingSource, { highWaterMark: 0 });
}

/** Bytes of the reader's own buffer, where it has brought one, or new ones. */
function roomFor(
  byteSize: number,
  view: ArrayBufferView | null | undefined,
): Uint8Array<ArrayBuffer> {
  if (view == null) return new Uint8Array(byteSize);
  const { buffer, byteOffset, byteLength } = view;
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, Math.min(byteSize, byteLength));
}
