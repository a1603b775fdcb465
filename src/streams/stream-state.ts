import { checkNotAborted } from "../abort-signal.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { isCudaLost } from "../native/cuda-error.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { cudaStream as at, memoryStatus } from "../native/memory-symbols.ts";
import { checkStackRoom } from "../native/stack-room.ts";
import { checkStatus, nativeError } from "../native/status.ts";
import {
  checkErrorsSince,
  errorCountOf,
  type NativeStream,
  newNativeStream,
  StreamEvent,
} from "../native/stream.ts";
import { pauseOfBackground } from "../native/event-loop.ts";
import { threadState } from "../native/thread-state.ts";
import { type QueuedOperation, QueuedOperations } from "./queued-operations.ts";
import { Semaphore } from "./semaphore.ts";
import { waitUntil, waitUntilOrAborted } from "./wait.ts";

const {
  cuda_stream_borrow,
  cuda_stream_create,
  cuda_stream_destroy,
  cuda_stream_query,
  cuda_stream_synchronize,
  cuda_stream_wait_for,
} = memoryLibrary;

/** How many operations are queued on a stream of the library's between two marks. */
const operationCountOfMark = 256;

/** `cudaErrorInvalidResourceHandle`. */
const invalidResourceHandle = 400;

const kept = threadState("keptStreams", () => ({
  /** The streams with operations that are not known to be over, whose memories are kept alive. */
  busy: new Set<StreamState>(),
  /** The `CudaStream`s that something holds, and that are not garbage collected therefore. */
  held: new Set<object>(),
}));

/**
 * Forgets what the streams of this thread have done, so that the garbage collector finds the memories
 * of which nobody else knows.
 */
export function forgetDoneOperations(): void {
  for (const streamState of kept.busy) streamState.forgetDone();
}

/** The turns of the borrowed streams of this thread, each of which may have several `CudaStream`s. */
const borrowedTurns = threadState("borrowedTurns", () => new Map<number, BorrowedTurns>());

interface BorrowedTurns {
  readonly turns: Semaphore;
  userCount: number;
}

/** Takes part in the turns of a borrowed stream until {@link leaveBorrowedTurns}. */
function joinBorrowedTurns(id: number): Semaphore {
  let joined = borrowedTurns.get(id);
  if (joined === undefined) {
    joined = { turns: new Semaphore(1), userCount: 0 };
    borrowedTurns.set(id, joined);
  }
  joined.userCount++;
  return joined.turns;
}

function leaveBorrowedTurns(id: number): void {
  const joined = borrowedTurns.get(id);
  if (joined !== undefined && --joined.userCount === 0) borrowedTurns.delete(id);
}

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
  /** Also before {@link create}. */
  #isDisposed = true;
  #holdCount = 0;
  /** Whether the stream is somebody else's, and is used only where the caller names it. */
  readonly isBorrowed: boolean;
  readonly #operations: QueuedOperations;
  /** Transfers come after each other. */
  #turns = new Semaphore(1);
  /** The errors that {@link #errorCount} leaves out, because those transfers have told them. */
  #transferErrorCount = 0;
  /** How many errors of {@link #errorCount} the stream has told whoever asked. */
  #toldErrorCount = 0;

  /** @param owner The `CudaStream`. */
  constructor(owner: object, isBorrowed: boolean) {
    this.#owner = new WeakRef(owner);
    this.isBorrowed = isBorrowed;
    this.#operations = new QueuedOperations(isBorrowed ? 1 : operationCountOfMark);
  }

  /** @throws {MemoryError} `INTERNAL` where CUDA fails. */
  create(deviceId: number): void {
    checkStatus(cuda_stream_create(this.native, deviceId));
    this.#isDisposed = false;
  }

  /**
   * Begins to use somebody else's stream.
   *
   * @throws {MemoryError} `INVALID_ARG` where the handle is that of no stream, as far as CUDA tells;
   * `UNSUPPORTED` for the default stream of each thread; `INTERNAL` where CUDA fails.
   */
  borrow(handle: number, deviceId: number): void {
    const status = cuda_stream_borrow(this.native, handle, deviceId);
    if (status < memoryStatus.MEMORY_OK) throw errorOfHandle(nativeError(status));
    this.#toldErrorCount = errorCountOf(this.native); // those of the stream's earlier users
    this.#turns = joinBorrowedTurns(this.native[at.id]!);
    this.#isDisposed = false;
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
   * garbage collected. Who holds it already may go on with a stream that is disposed of.
   *
   * @throws {MemoryError} `INVALID_ARG` where the stream was disposed of already, and nothing holds it.
   */
  acquire(operation: string): void {
    if (this.#holdCount === 0) this.checkNotDisposed(operation);
    const owner = this.#owner.deref();
    if (owner !== undefined) kept.held.add(owner);
    this.#holdCount++;
  }

  /** Ends what {@link acquire} began. */
  release(): void {
    if (--this.#holdCount > 0) return;
    const owner = this.#owner.deref();
    if (owner !== undefined) kept.held.delete(owner);
    if (!this.#isDisposed) return;
    try {
      this.#destroy();
    } catch (error) {
      log.error("unreleased", (error as Error).message);
    }
  }

  /**
   * Destroys the stream as soon as nothing holds it. What was queued is still done. A second call does
   * nothing.
   *
   * @throws {MemoryError} `INTERNAL` where CUDA fails. The stream may live on then.
   */
  dispose(): void {
    if (this.#isDisposed) return;
    checkStackRoom();
    if (this.#holdCount === 0) this.#destroy();
    this.#isDisposed = true;
  }

  #destroy(): void {
    this.forgetDone();
    // Of a lost CUDA no work is under way any more.
    const isUnderWay = this.#operations.count > 0 && !isCudaLost();
    const isToMark = isUnderWay && !(this.isBorrowed && this.#operations.isMarked);
    const end = isToMark ? new StreamEvent(this.native) : null;
    // A stream that CUDA refuses to destroy is the library's from now on.
    const status = cuda_stream_destroy(this.native);
    this.#isDisposed = true;
    if (this.isBorrowed) leaveBorrowedTurns(this.native[at.id]!);
    if (isUnderWay) void this.#keepUntilOver(end);
    else this.#logUntold();
    checkStatus(status);
  }

  /**
   * Keeps the memories of the stream, which was destroyed, until they are not used any more.
   *
   * @param end The end of its work; `null` where its last mark is that.
   */
  async #keepUntilOver(end: StreamEvent | null): Promise<void> {
    let isOver = false;
    // An error is the stream's no more once no point of its work is left, so those stay until it is logged.
    const untilOver = () => (isOver = end?.isOver() ?? this.#operations.isOverAtLastMark);
    try {
      await waitUntil(() => untilOver() || this.#errorCount() > this.#toldErrorCount);
      this.#logUntold();
      // CUDA may not be able to tell, ever: that must not keep the process from ending.
      if (!isOver) await waitUntil(untilOver, pauseOfBackground);
    } finally {
      end?.[Symbol.dispose]();
      this.#forget(this.#operations.lastNumber);
    }
  }

  #isOverByMarks(): boolean {
    this.#operations.forgetMarked();
    return this.#operations.count === 0;
  }

  /** Logs the error of the work that nobody was told, and can ask for no more. */
  #logUntold(): void {
    try {
      this.#checkTold();
    } catch (error) {
      logUnlessLost(error, "on a CudaStream that was disposed of: ");
    }
  }

  // ---- What is queued

  /**
   * Queues an operation, whose memories live until it is over.
   *
   * @param call Queues it natively, and returns a `memory_status`; the operation is remembered where
   * that is `MEMORY_QUEUED`.
   */
  queue(operation: QueuedOperation, call: (stream: NativeStream) => number): number {
    const number = this.#remember(operation);
    let status: number = memoryStatus.MEMORY_UNKNOWN;
    try {
      status = call(this.native);
    } finally {
      if (status !== memoryStatus.MEMORY_QUEUED) this.#takeBack(number);
    }
    if (status === memoryStatus.MEMORY_QUEUED) this.#markOperations();
    return status;
  }

  /**
   * Runs a transfer after the stream's earlier transfers. Where there is none, the transfer begins
   * before the call returns.
   *
   * @param signal Ends the wait for the earlier ones.
   */
  async transfer(
    operation: QueuedOperation,
    run: (stream: NativeStream) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    this.acquire(operation.description);
    try {
      await this.#turns.run(() => this.#transferNow(operation, run), signal);
    } finally {
      this.release();
    }
  }

  async #transferNow(
    operation: QueuedOperation,
    run: (stream: NativeStream) => Promise<void>,
  ): Promise<void> {
    const number = this.#remember(operation);
    const errorCount = errorCountOf(this.native);
    try {
      await run(this.native);
    } catch (error) {
      this.#takeBack(number);
      // On somebody else's stream the error may be that of work which nobody here knows.
      const isAlone = this.#operations.count === 0 && !this.isBorrowed;
      if (isAlone) this.#leaveToTransfer(errorCount);
      throw error;
    } finally {
      this.#takeBack(number);
    }
  }

  /** Counts errors as a transfer's that was alone, unless somebody may have to be told of others. */
  #leaveToTransfer(errorCountBefore: number): void {
    const count = errorCountOf(this.native) - errorCountBefore;
    const untoldCount = this.#errorCount() - this.#toldErrorCount;
    if (untoldCount === count) this.#transferErrorCount += count;
  }

  #remember(operation: QueuedOperation): number {
    kept.busy.add(this);
    return this.#operations.add(operation);
  }

  #takeBack(number: number): void {
    this.#operations.takeBack(number);
    if (this.#operations.count === 0) kept.busy.delete(this);
  }

  #forget(lastNumber: number): void {
    this.#operations.forget(lastNumber);
    if (this.#operations.count === 0) kept.busy.delete(this);
  }

  #markOperations(): void {
    try {
      this.#operations.mark(this.native);
    } catch (error) {
      logUnlessLost(error); // the operation is queued all the same, and a later mark will do
    }
  }

  /** Forgets all operations if they are over. Does not wait, and does not tell errors. */
  forgetDone(): void {
    if (this.#isDisposed || this.#operations.count === 0 || !this.#turns.isIdle) return;
    if (this.isBorrowed) {
      if (this.#isOverByMarks()) kept.busy.delete(this);
      return;
    }
    const { lastNumber } = this.#operations;
    // An error that this call finds is counted, and told to whoever asks next.
    if (cuda_stream_query(this.native) === memoryStatus.MEMORY_OK) this.#forget(lastNumber);
  }

  // ---- Whether it is done

  /**
   * Blocks the thread until all that is queued is done.
   *
   * @throws {MemoryError} `INTERNAL` where an operation has failed.
   */
  synchronize(): void {
    this.#askNow(cuda_stream_synchronize);
  }

  /**
   * Whether all that was queued is done, and all transfers, which may not have begun yet.
   *
   * @throws {MemoryError} `INTERNAL` where an operation has failed.
   */
  isDone(): boolean {
    return this.#askNow(cuda_stream_query) && this.#turns.isIdle;
  }

  #askNow(ask: (stream: NativeStream) => number): boolean {
    const { lastNumber } = this.#operations;
    const names = this.#operations.namesUpTo(lastNumber);
    const status = ask(this.native);
    if (status === memoryStatus.MEMORY_OK) this.#forget(lastNumber);
    try {
      checkStatus(status);
      this.#checkTold();
    } catch (error) {
      this.#toldErrorCount = this.#errorCount();
      this.forgetDone();
      throw withNames(error, names);
    }
    return status === memoryStatus.MEMORY_OK;
  }

  /**
   * Resolves when all that was queued before the call is done.
   *
   * @param signal Ends the wait, with its reason. Errors are left for whoever asks next then.
   * @throws {MemoryError} `INTERNAL` where an operation has failed. A transfer's error goes to
   * whoever asked for the transfer.
   */
  async finished(signal?: AbortSignal): Promise<void> {
    checkNotAborted(signal);
    checkStackRoom();
    this.acquire("finished");
    try {
      const toldErrorCount = this.#toldErrorCount;
      const names = this.#operations.namesUpTo(this.#operations.lastNumber);
      let end: StreamEvent | null = null;
      let lastNumber = 0;
      await this.#turns.run(async () => {
        ({ lastNumber } = this.#operations);
        end = new StreamEvent(this.native);
      }, signal);
      await this.#finishedAt(end!, lastNumber, toldErrorCount, names, signal);
    } finally {
      this.release();
    }
  }

  async #finishedAt(
    end: StreamEvent,
    lastNumber: number,
    toldErrorCount: number,
    names: string,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    try {
      await waitUntilOrAborted(() => end.isDone(), signal);
      this.#forget(lastNumber);
      this.#checkErrorsBeyond(toldErrorCount);
    } catch (error) {
      checkNotAborted(signal);
      this.#toldErrorCount = this.#errorCount();
      if (end.isOver()) this.#forget(lastNumber);
      throw withNames(error, names);
    } finally {
      end[Symbol.dispose]();
    }
  }

  /**
   * Has what is queued from now on come after what the other was given so far.
   *
   * @throws {MemoryError} `INTERNAL` where CUDA fails.
   */
  waitFor(other: StreamState): void {
    checkStatus(cuda_stream_wait_for(this.native, other.native));
  }

  /** How many errors of the stream's work were found, but for those that are a transfer's alone. */
  #errorCount(): number {
    return errorCountOf(this.native) - this.#transferErrorCount;
  }

  /** @throws {MemoryError} `INTERNAL` where an error was found that the stream has not told. */
  #checkTold(): void {
    this.#checkErrorsBeyond(this.#toldErrorCount);
  }

  #checkErrorsBeyond(errorCount: number): void {
    if (this.#errorCount() > errorCount) checkErrorsSince(this.native, 0);
  }
}

/** Logs what fails. That CUDA is lost is logged once, and not for each stream. */
export function logUnlessLost(error: unknown, prefix = ""): void {
  if (error instanceof MemoryError && error.code === "DEVICE_LOST") return;
  log.error("stream", `${prefix}${(error as Error).message}`);
}

/** The error for a handle that CUDA refuses. */
function errorOfHandle(error: MemoryError): MemoryError {
  if (error.cudaError !== invalidResourceHandle) return error;
  return new MemoryError("INVALID_ARG", `CudaStream.from: ${error.message}`, error);
}

/** Adds to an error what it may be about, because CUDA does not tell which operation has failed. */
function withNames(error: unknown, names: string): unknown {
  if (!(error instanceof MemoryError) || names === "") return error;
  return error.withMessage(`${error.message}; what was queued on the stream: ${names}`);
}
