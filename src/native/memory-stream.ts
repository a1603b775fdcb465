import { checkStatus, memoryLibrary, newStruct } from "./memory-library.ts";
import { memoryStatus, memoryStream } from "./memory-symbols.ts";

const { cuda_event_give, cuda_event_query, cuda_event_record } = memoryLibrary;

/** A `struct memory_stream`: a stream as the native library knows it. */
export type MemoryStream = Float64Array;

export function newMemoryStream(): MemoryStream {
  return newStruct(memoryStream);
}

/** A point in a stream's work. Must be released. */
export class StreamPoint implements Disposable {
  #event: number;

  /**
   * The point after all that the stream has been given so far.
   *
   * @throws {MemoryError} `INTERNAL` where CUDA refuses.
   */
  constructor(stream: MemoryStream) {
    this.#event = cuda_event_record(stream);
    if (this.#event === 0) checkStatus(memoryStatus.MEMORY_INTERNAL);
  }

  /** @throws {MemoryError} `INTERNAL` where work before the point has failed. */
  hasPassed(): boolean {
    const status = cuda_event_query(this.#event);
    checkStatus(status);
    return status === memoryStatus.MEMORY_OK;
  }

  [Symbol.dispose](): void {
    if (this.#event === 0) return;
    cuda_event_give(this.#event);
    this.#event = 0;
  }
}
