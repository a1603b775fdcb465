import { memoryLibrary } from "./memory-library.ts";
import { cudaStream, memoryStatus } from "./memory-symbols.ts";
import { checkStatus, nativeError } from "./status.ts";
import { newDoubles, newStruct } from "./struct.ts";

const { cuda_event_is_over, cuda_event_release, cuda_event_query, cuda_event_record } =
  memoryLibrary;

/** A `struct cuda_stream`: a stream as the native library knows it. */
export type NativeStream = Float64Array;

/** Makes room for a `struct cuda_stream`. */
export function newNativeStream(): NativeStream {
  return newStruct(cudaStream);
}

/** Puts several beside each other, as an array in C. */
export function joinStreams(streams: readonly NativeStream[]): Float64Array {
  if (streams.length === 1) return streams[0]!;
  const { length } = streams[0]!;
  const joined = newDoubles(length * streams.length);
  streams.forEach((stream, index) => joined.set(stream, index * length));
  return joined;
}

/** A point in a stream's work: a CUDA event, which is released when the point is disposed of. */
export class StreamEvent implements Disposable {
  #event: number;

  /**
   * Marks the point after all that the stream has been given so far.
   *
   * @throws {MemoryError} `INTERNAL` where CUDA refuses.
   */
  constructor(stream: NativeStream) {
    const event = cuda_event_record(stream);
    if (event < memoryStatus.MEMORY_OK) throw nativeError(event);
    this.#event = event;
  }

  /**
   * Whether the stream has done all work before the point.
   *
   * @throws {MemoryError} `INTERNAL` where an error of the stream's work was found, by whatever thread,
   * since the point was marked. The work may still be under way.
   */
  isDone(): boolean {
    const status = cuda_event_query(this.#event);
    checkStatus(status);
    return status !== memoryStatus.MEMORY_NOT_DONE;
  }

  /**
   * Whether the work before the point is over, as far as CUDA tells, and uses no memory any more. Never
   * throws: an error counts as the stream's.
   */
  isOver(): boolean {
    return cuda_event_is_over(this.#event) === memoryStatus.MEMORY_OK;
  }

  [Symbol.dispose](): void {
    if (this.#event === 0) return;
    cuda_event_release(this.#event);
    this.#event = 0;
  }
}

const { cuda_stream_error_count, cuda_stream_error_since } = memoryLibrary;

/** How many errors of the stream's work have been found so far, by whatever thread and call. */
export function errorCountOf(stream: NativeStream): number {
  return cuda_stream_error_count(stream);
}

/** @throws {MemoryError} `INTERNAL` where more errors of the stream's work have been found than these. */
export function checkErrorsSince(stream: NativeStream, errorCount: number): void {
  checkStatus(cuda_stream_error_since(stream, errorCount));
}
