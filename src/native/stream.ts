import { checkStatus, memoryLibrary, newStruct } from "./memory-library.ts";
import { memoryStatus, cudaStream } from "./memory-symbols.ts";

const { cuda_event_release, cuda_event_query, cuda_event_record } = memoryLibrary;

/** A `struct cuda_stream`: a stream as the native library knows it. */
export type NativeStream = Float64Array;

export function newNativeStream(): NativeStream {
  return newStruct(cudaStream);
}

/** A point in a stream's work. Must be released. */
export class StreamPoint implements Disposable {
  #event: number;

  /**
   * The point after all that the stream has been given so far.
   *
   * @throws {MemoryError} `INTERNAL` where CUDA refuses.
   */
  constructor(stream: NativeStream) {
    this.#event = cuda_event_record(stream);
    checkStatus(this.#event);
  }

  /** @throws {MemoryError} `INTERNAL` where work before the point has failed. */
  hasPassed(): boolean {
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
