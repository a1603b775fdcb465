import type { Pointer } from "bun:ffi";
import { checkDeviceId, invalidArgument } from "../arguments.ts";
import { gpuCount } from "../devices/devices.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { checkStatus, memoryLibrary, nativeMessage } from "../native/memory-library.ts";
import { type NativeStream, newNativeStream, StreamPoint } from "../native/stream.ts";
import { memoryStatus, cudaStream as at } from "../native/memory-symbols.ts";
import { waitForStream, waitUntil } from "./wait.ts";

const { cuda_stream_create, cuda_stream_destroy, cuda_stream_query, cuda_stream_synchronize } =
  memoryLibrary;

/** More operations than this are not remembered by a stream that nobody asks whether it is done. */
const operationCountMax = 1024;

/** Something that was queued on a stream, until it is known to be done. */
interface QueuedOperation {
  /** For the error, if it fails. */
  description: string;
  /** What it works on, which must not be garbage collected before. */
  memories: readonly object[];
}

/** What is queued on streams that are destroyed. */
const lastOperations = new Set<readonly QueuedOperation[]>();

async function keepUntilDone(
  stream: NativeStream,
  operations: readonly QueuedOperation[],
): Promise<void> {
  lastOperations.add(operations);
  try {
    await waitForStream(stream);
  } catch (error) {
    log.error(`on a CudaStream that was disposed of: ${(error as Error).message}`);
  } finally {
    lastOperations.delete(operations);
  }
}

/** Returns a `memory_status`. What the stream works on is not garbage collected before that is done. */
function destroy(stream: NativeStream, operations: readonly QueuedOperation[]): number {
  if (operations.length > 0) void keepUntilDone(stream, operations);
  return cuda_stream_destroy(stream);
}

/** What is left of a stream that was dropped. */
interface Leaked {
  stream: NativeStream;
  queued: readonly QueuedOperation[];
}

/** Destroys a stream that was dropped without having been disposed of. */
const leakedStreams = new FinalizationRegistry(({ stream, queued }: Leaked) => {
  const status = destroy(stream, queued);
  if (status !== memoryStatus.MEMORY_OK) log.error(nativeMessage());
  log.warn(
    `a CudaStream of GPU ${stream[at.device_id]} was never disposed of; it has been destroyed now ` +
      "that it was garbage collected",
  );
});

/** The native side of a stream that is not disposed of. For this package's own functions. */
export let nativeStreamOf: (operation: string, stream: unknown) => NativeStream;

/**
 * Has CUDA keep a stream, also if it is disposed of, until {@link releaseStream}. For this package's
 * own functions.
 */
export let holdStream: (operation: string, stream: CudaStream) => NativeStream;

/** The end of {@link holdStream}. For this package's own functions. */
export let releaseStream: (stream: CudaStream) => void;

/** Remembers what was queued on a stream. For this package's own functions. */
export let noteQueued: (stream: CudaStream, operation: QueuedOperation) => void;

/** Runs a transfer when those before it have been queued. For this package's own functions. */
export let queueTransfer: (
  stream: CudaStream,
  operation: QueuedOperation,
  transfer: (stream: NativeStream) => Promise<void>,
) => Promise<void>;

/**
 * A queue of work for a GPU: what is queued on a stream is done in that order, at the same time as
 * what other streams do. Made as a CUDA stream that does not wait for the legacy default stream.
 *
 * Any number of threads may make streams; one stream belongs to the thread that made it.
 *
 * @example
 * ```ts
 * using stream = new CudaStream(0);
 * copyBuffer(tensor, staging, { stream }); // queued, not done
 * staging.free(stream); // given back when the copy is done
 * await stream.finished();
 * ```
 */
export class CudaStream implements Disposable {
  readonly #stream: NativeStream = newNativeStream();
  #isDisposed = false;
  /** How many still use it, also if it is disposed of. */
  #holdCount = 0;
  /** Always the same array. */
  readonly #queued: QueuedOperation[] = [];
  /** What a transfer came upon, where it may be of something else that was queued. */
  #foundError: MemoryError | null = null;
  #transferCount = 0;
  #lastTransfer: Promise<void> = Promise.resolve();

  static {
    nativeStreamOf = (operation, stream) => {
      if (typeof stream !== "object" || stream === null || !(#stream in stream)) {
        throw invalidArgument(operation, "stream", "a CudaStream", stream);
      }
      if (stream.#isDisposed) {
        throw new MemoryError("INVALID_ARG", `${operation}: the stream was disposed of`);
      }
      return stream.#stream;
    };
    holdStream = (operation, stream) => {
      const held = nativeStreamOf(operation, stream);
      stream.#holdCount++;
      return held;
    };
    releaseStream = (stream) => stream.#release();
    noteQueued = (stream, operation) => stream.#note(operation);
    queueTransfer = (stream, operation, transfer) => stream.#queueTransfer(operation, transfer);
  }

  /**
   * @param deviceId The GPU's CUDA ordinal.
   * @throws {MemoryError} `INVALID_ARG` for what cannot be an ordinal; `UNAVAILABLE` where there is
   * no such GPU; `INTERNAL` where CUDA fails.
   */
  constructor(deviceId = 0) {
    checkDeviceId("new CudaStream", deviceId);
    if (deviceId >= gpuCount()) {
      throw new MemoryError("UNAVAILABLE", `new CudaStream: there is no GPU ${deviceId}`);
    }
    checkStatus(cuda_stream_create(this.#stream, deviceId));
    leakedStreams.register(this, { stream: this.#stream, queued: this.#queued }, this);
  }

  /** The GPU's CUDA ordinal. */
  get deviceId(): number {
    return this.#stream[at.device_id]!;
  }

  /** The `cudaStream_t`, for libraries that take one. */
  get handle(): Pointer {
    return this.#stream[at.handle] as Pointer;
  }

  /**
   * Blocks the thread until all that has been queued is done. Of a large `writeAsync` or `readAsync`
   * that has not been awaited only a part may have been queued.
   *
   * @throws {MemoryError} `INTERNAL` where something queued has failed, with what it may have been;
   * `INVALID_ARG` once the stream is disposed of.
   */
  synchronize(): void {
    const stream = nativeStreamOf("synchronize", this);
    this.#settle(this.#queued, () => {
      checkStatus(cuda_stream_synchronize(stream));
      return true;
    });
  }

  /**
   * Whether all that was queued is done.
   *
   * @throws {MemoryError} as {@link synchronize} does.
   */
  isDone(): boolean {
    const stream = nativeStreamOf("isDone", this);
    const isDone = this.#settle(this.#queued, () => {
      const status = cuda_stream_query(stream);
      checkStatus(status);
      return status === memoryStatus.MEMORY_OK;
    });
    return isDone && this.#transferCount === 0;
  }

  /**
   * Resolves when all that was queued before the call is done. Does not block the event loop.
   *
   * @throws {MemoryError} as {@link synchronize} does.
   */
  async finished(): Promise<void> {
    const stream = holdStream("finished", this);
    try {
      // Transfers report their errors to those who asked for them.
      if (this.#transferCount > 0) await this.#lastTransfer;
      using point = new StreamPoint(stream);
      const queued = [...this.#queued];
      await waitUntil(() => this.#settle(queued, () => point.hasPassed()));
    } finally {
      this.#release();
    }
  }

  /**
   * Destroys the stream, for CUDA when all transfers that it was given are over. What is queued on it
   * is still done. A second call does nothing.
   */
  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    leakedStreams.unregister(this);
    if (this.#holdCount === 0) checkStatus(destroy(this.#stream, this.#queued));
  }

  #release(): void {
    if (--this.#holdCount > 0 || !this.#isDisposed) return;
    const status = destroy(this.#stream, this.#queued);
    if (status !== memoryStatus.MEMORY_OK) log.error(nativeMessage());
  }

  #note(operation: QueuedOperation): void {
    if (this.#queued.length === operationCountMax) this.#queued.shift();
    this.#queued.push(operation);
  }

  async #queueTransfer(
    operation: QueuedOperation,
    transfer: (stream: NativeStream) => Promise<void>,
  ): Promise<void> {
    const stream = holdStream(operation.description, this);
    const previous = this.#lastTransfer;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#lastTransfer = promise;
    try {
      // Without another in its way, the transfer begins before the caller goes on.
      if (this.#transferCount++ > 0) await previous;
      this.#note(operation);
      await transfer(stream);
    } catch (error) {
      // CUDA tells it only once.
      const isAlone = this.#queued.every((queued) => queued === operation);
      if (!isAlone && error instanceof MemoryError && error.code === "INTERNAL") {
        this.#foundError ??= error;
      }
      throw error;
    } finally {
      this.#transferCount--;
      this.#forget([operation]);
      this.#release();
      resolve();
    }
  }

  /**
   * Forgets the operations if `isDone` says that they are done, or that one has failed; the error is
   * thrown again with their names.
   */
  #settle(operations: readonly QueuedOperation[], isDone: () => boolean): boolean {
    try {
      if (!isDone()) return false;
      const error = this.#foundError;
      this.#foundError = null;
      if (error !== null) throw error;
      this.#forget(operations);
      return true;
    } catch (error) {
      const shown = operations.slice(-4).map(({ description }) => description);
      if (operations.length > shown.length) shown.unshift("...");
      this.#forget(operations);
      if (!(error instanceof MemoryError) || shown.length === 0) throw error;
      throw new MemoryError(
        error.code,
        `${error.message}; what was queued on the stream: ${shown.join(", ")}`,
      );
    }
  }

  #forget(operations: readonly QueuedOperation[]): void {
    const forgotten = new Set(operations);
    const left = this.#queued.filter((operation) => !forgotten.has(operation));
    this.#queued.splice(0, Infinity, ...left);
  }
}
