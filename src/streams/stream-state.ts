import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { checkStatus, nativeMessage } from "../native/status.ts";
import { type NativeStream, newNativeStream, StreamEvent } from "../native/stream.ts";
import { waitForStream, waitUntil } from "./wait.ts";

const { cuda_stream_create, cuda_stream_destroy, cuda_stream_query, cuda_stream_synchronize } =
  memoryLibrary;

/** A stream that nobody asks whether it is done remembers no more than its last operations. */
const operationCountMax = 1024;

/** Something that was queued on a stream and is not known to be done. */
export interface QueuedOperation {
  /** Names the operation in an error's message. */
  readonly description: string;
  /** The memories that the operation works on, which must not be garbage collected before. */
  readonly memories: readonly object[];
}

/** The destroyed streams whose work is still under way, so that its memories are kept alive. */
const destroyedStreams = new Set<StreamState>();

/** The `CudaStream`s that something holds, and that are not garbage collected therefore. */
const heldStreams = new Set<object>();

/**
 * The inner side of a `CudaStream`: the native stream, the operations that were queued on it, and
 * how long it lives.
 *
 * It does not refer to its `CudaStream`, so that the garbage collector finds one that was dropped,
 * though not before the library has done with it.
 */
export class StreamState {
  readonly native: NativeStream = newNativeStream();
  readonly #owner: WeakRef<object>;
  #isDisposed = false;
  #holdCount = 0;
  /** In the order in which they were queued. */
  #operations: QueuedOperation[] = [];
  /** An error that a transfer came upon, where another operation may have caused it. */
  #foundError: MemoryError | null = null;
  #transferCount = 0;
  #lastTransfer: Promise<void> = Promise.resolve();

  /**
   * @param owner The `CudaStream`.
   * @throws {MemoryError} `INTERNAL` where CUDA fails.
   */
  constructor(deviceId: number, owner: object) {
    this.#owner = new WeakRef(owner);
    checkStatus(cuda_stream_create(this.native, deviceId));
  }

  // ---- How long the stream lives

  get isDisposed(): boolean {
    return this.#isDisposed;
  }

  /** @throws {MemoryError} `INVALID_ARG` where the stream was disposed of. */
  checkNotDisposed(operation: string): void {
    if (!this.#isDisposed) return;
    throw new MemoryError("INVALID_ARG", `${operation}: the stream was disposed of`);
  }

  /**
   * Holds the stream until {@link release}: CUDA keeps it, also once it is disposed of, and it is not
   * garbage collected.
   *
   * @throws {MemoryError} `INVALID_ARG` where the stream was disposed of already.
   */
  acquire(operation: string): void {
    this.checkNotDisposed(operation);
    this.#holdCount++;
    const owner = this.#owner.deref();
    if (owner !== undefined) heldStreams.add(owner);
  }

  /** Ends what {@link acquire} began. */
  release(): void {
    if (--this.#holdCount > 0) return;
    const owner = this.#owner.deref();
    if (owner !== undefined) heldStreams.delete(owner);
    if (!this.#isDisposed) return;
    const status = this.#destroy();
    if (status !== memoryStatus.MEMORY_OK) log.error(nativeMessage());
  }

  /**
   * Destroys the stream as soon as nothing holds it. Must be called once.
   *
   * @throws {MemoryError} `INTERNAL` where CUDA fails.
   */
  dispose(): void {
    this.#isDisposed = true;
    if (this.#holdCount === 0) checkStatus(this.#destroy());
  }

  /** Returns a `memory_status`. What was queued is still done. */
  #destroy(): number {
    if (this.#operations.length > 0) void this.#keepUntilDone();
    return cuda_stream_destroy(this.native);
  }

  async #keepUntilDone(): Promise<void> {
    destroyedStreams.add(this);
    try {
      await waitForStream(this.native);
    } catch (error) {
      log.error(`on a CudaStream that was disposed of: ${(error as Error).message}`);
    } finally {
      destroyedStreams.delete(this);
    }
  }

  // ---- What is queued

  /** Remembers an operation that was queued, until it is known to be done. */
  remember(operation: QueuedOperation): void {
    if (this.#operations.length === operationCountMax) this.#operations.shift();
    this.#operations.push(operation);
  }

  #forget(operations: readonly QueuedOperation[]): void {
    const forgotten = new Set(operations);
    this.#operations = this.#operations.filter((operation) => !forgotten.has(operation));
  }

  /**
   * Runs a transfer after the stream's earlier transfers. Where there is none, the transfer begins
   * before the call returns.
   */
  async transfer(
    operation: QueuedOperation,
    run: (stream: NativeStream) => Promise<void>,
  ): Promise<void> {
    this.acquire(operation.description);
    const previous = this.#lastTransfer;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#lastTransfer = promise;
    try {
      if (this.#transferCount++ > 0) await previous;
      this.remember(operation);
      await run(this.native);
    } catch (error) {
      // CUDA reports an error once, and this one may be another operation's.
      const isAlone = this.#operations.every((queued) => queued === operation);
      if (!isAlone && error instanceof MemoryError && error.code === "INTERNAL") {
        this.#foundError ??= error;
      }
      throw error;
    } finally {
      this.#transferCount--;
      this.#forget([operation]);
      this.release();
      resolve();
    }
  }

  // ---- Whether it is done

  /**
   * Blocks the thread until all that is queued is done.
   *
   * @throws {MemoryError} `INTERNAL` where an operation has failed.
   */
  synchronize(): void {
    this.#settle(this.#operations, () => {
      checkStatus(cuda_stream_synchronize(this.native));
      return true;
    });
  }

  /**
   * Whether all that was queued is done, and all transfers, which may not have begun yet.
   *
   * @throws {MemoryError} `INTERNAL` where an operation has failed.
   */
  isDone(): boolean {
    const isDone = this.#settle(this.#operations, () => {
      const status = cuda_stream_query(this.native);
      checkStatus(status);
      return status === memoryStatus.MEMORY_OK;
    });
    return isDone && this.#transferCount === 0;
  }

  /**
   * Resolves when all that was queued before the call is done.
   *
   * @throws {MemoryError} `INTERNAL` where an operation has failed. A transfer's error goes to
   * whoever asked for the transfer.
   */
  async finished(): Promise<void> {
    this.acquire("finished");
    try {
      if (this.#transferCount > 0) await this.#lastTransfer;
      using event = new StreamEvent(this.native);
      const operations = [...this.#operations];
      await waitUntil(() => this.#settle(operations, () => event.isDone()));
    } finally {
      this.release();
    }
  }

  /**
   * Forgets the operations if `isDone` returns true or throws. Adds the last operations' names to
   * what it throws, because CUDA does not tell which has failed.
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
      throw error.withMessage(
        `${error.message}; what was queued on the stream: ${shown.join(", ")}`,
      );
    }
  }
}
