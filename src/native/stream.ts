import { memoryLibrary } from "./memory-library.ts";
import { cudaStream, memoryStatus } from "./memory-symbols.ts";
import { checkStatus } from "./status.ts";
import { newStruct } from "./struct.ts";

const { cuda_event_release, cuda_event_query, cuda_event_record } = memoryLibrary;

/** A `struct cuda_stream`: a stream as the native library knows it. */
export type NativeStream = Float64Array;

/** Makes room for a `struct cuda_stream`. */
export function newNativeStream(): NativeStream {
  return newStruct(cudaStream);
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
    this.#event = cuda_event_record(stream);
    checkStatus(this.#event);
  }

  /**
   * Whether the stream has done all work before the point.
   *
   * @throws {MemoryError} `INTERNAL` where that work has failed.
   */
  isDone(): boolean {
    const status = cuda_event_query(this.#event);
    checkStatus(status);
    return status !== memoryStatus.MEMORY_NOT_DONE;
  }

  [Symbol.dispose](): void {
    if (this.#event === 0) return;
    cuda_event_release(this.#event);
    this.#event = 0;
  }
}
