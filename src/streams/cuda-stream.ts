import type { Pointer } from "bun:ffi";
import { checkSignal } from "../abort-signal.ts";
import {
  checkDeviceId,
  checkOptions,
  invalidArgument,
  isDeviceId,
  readArgument,
} from "../arguments.ts";
import { gpuCount } from "../devices/supported-gpus.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { cudaStream as at } from "../native/memory-symbols.ts";
import { notCloneable } from "../native/not-cloneable.ts";
import { threadState } from "../native/thread-state.ts";
import { logUnlessLost, StreamState } from "./stream-state.ts";

/** Destroys a stream that was dropped without having been disposed of. One that is borrowed may be. */
function destroyDropped(streamState: StreamState): void {
  if (streamState.isDisposed) return;
  try {
    streamState.dispose();
  } catch (error) {
    log.error("unreleased", (error as Error).message);
  }
  if (streamState.isBorrowed) return;
  log.warn(
    { event: "leak", memoryType: "GPU", memoryTypeId: streamState.native[at.device_id]! },
    `a CudaStream of GPU ${streamState.native[at.device_id]} was never disposed of; it has been ` +
      "destroyed now that it was garbage collected",
  );
}

/** The streams of this thread, whichever copy of the package has made them. */
const streams = threadState("streams", () => ({
  states: new WeakMap<object, StreamState>(),
  dropped: new FinalizationRegistry(destroyDropped),
}));

/**
 * The state of a stream, for this package's own functions.
 *
 * @throws {MemoryError} `INVALID_ARG` for what is no stream, or one that was disposed of.
 */
export function streamStateOf(operation: string, stream: unknown): StreamState {
  const streamState = streams.states.get(stream as object);
  if (streamState === undefined) throw invalidArgument(operation, "stream", "a CudaStream", stream);
  streamState.checkNotDisposed(operation);
  return streamState;
}

/**
 * The states of a stream, or of an array of streams.
 *
 * @throws {MemoryError} as {@link streamStateOf} does.
 */
export function streamStatesOf(operation: string, streams: unknown): readonly StreamState[] {
  return readArgument(operation, "streams", () => {
    if (!Array.isArray(streams)) return [streamStateOf(operation, streams)];
    return Array.from({ length: streams.length }, (_, index) =>
      streamStateOf(operation, streams[index]),
    );
  });
}

/** Options of {@link CudaStream.finished}. */
export interface FinishedOptions {
  /** Rejects the wait with its reason as soon as it is aborted. The work goes on. */
  signal?: AbortSignal | undefined;
}

/** A stream that somebody else has made, for the constructor. */
class Borrowed {
  readonly #handle: number;
  readonly deviceId: number;

  constructor(handle: number, deviceId: number) {
    this.#handle = handle;
    this.deviceId = deviceId;
  }

  get handle(): number {
    return this.#handle;
  }

  /** Whether the value is one, which may be anything else, also a Proxy that was revoked. */
  static is(value: unknown): value is Borrowed {
    return typeof value === "object" && value !== null && #handle in value;
  }
}

/**
 * A queue of work for a GPU: what is queued on a stream is done in that order, at the same time as
 * what other streams do. It is a CUDA stream that does not wait for the legacy default stream.
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
 *
 * With `await using` in the place of `using` a stream is waited for when it is disposed of.
 */
export class CudaStream implements Disposable, AsyncDisposable {
  /** A stream belongs to its thread. */
  readonly cannotBeCloned = notCloneable;

  readonly #state: StreamState;

  static {
    Object.defineProperty(CudaStream.prototype, Symbol.for("nodejs.util.inspect.custom"), {
      value(this: unknown) {
        return typeof this === "object" && this !== null && #state in this
          ? this.#text()
          : "CudaStream {}";
      },
    });
  }

  /**
   * @param deviceId The GPU's CUDA ordinal.
   * @throws {MemoryError} `INVALID_ARG` for what cannot be an ordinal; `UNAVAILABLE` where there is
   * no such GPU; `INTERNAL` where CUDA fails, and `DEVICE_LOST` where it has failed for good.
   */
  constructor(deviceId?: number);
  constructor(source: number | Borrowed = 0) {
    const borrowed = Borrowed.is(source) ? source : null;
    const deviceId = Borrowed.is(source) ? source.deviceId : source;
    checkGpu(borrowed === null ? "new CudaStream" : "CudaStream.from", deviceId);
    this.#state = new StreamState(this, borrowed !== null);
    streams.states.set(this, this.#state);
    streams.dropped.register(this, this.#state, this);
    if (borrowed === null) this.#state.create(deviceId);
    else this.#state.borrow(borrowed.handle, deviceId);
  }

  /**
   * Somebody else's stream: of a library that computes on a GPU, say. It works with everything that takes
   * a stream, and is never destroyed here. Any number of objects, in any thread, may stand for one.
   *
   * It must live as long as it is used: until what was begun on it here is over (`await using` waits for
   * that, but not for memory that is freed on it while something else uses the memory: that needs the
   * stream once more, at its end), and the object is not used any more. From then on, and also where the object was neither
   * disposed of nor dropped, nothing here touches the stream, so that its owner may destroy it at any
   * time. Its end is nobody's here to know: a reset does not see that it is being captured, and where a
   * Worker ends with one that was not disposed of, what it held stays until its whole GPU was idle. CUDA
   * tells an error of a stream's work once: what is told here its owner is not told any more.
   *
   * @param handle The `cudaStream_t`; 0 for the legacy default stream, with which the GPU's other
   * streams wait for each other unless they were made not to, as those of `new CudaStream` are.
   * @param deviceId The ordinal of the GPU that it belongs to.
   * @throws {MemoryError} `INVALID_ARG` for what can be no handle and no ordinal, and for a handle of no
   * stream, as far as CUDA can tell (it may end the process for an address that was never that of a
   * stream, or is not any more); `UNSUPPORTED` for the default stream of each thread, handle 2; otherwise as the
   * constructor does.
   *
   * @example
   * ```ts
   * async function upload(handle: CudaStream["handle"], input: Float32Array): Promise<void> {
   *   await using stream = CudaStream.from(handle, 0); // on which a library computes
   *   await tensor.writeAsync(input, 0, { stream });
   * }
   * ```
   */
  static from(handle: Pointer, deviceId: number): CudaStream {
    if (!isDeviceId(handle)) {
      throw invalidArgument("CudaStream.from", "handle", "a cudaStream_t, as a number", handle);
    }
    checkDeviceId("CudaStream.from", deviceId);
    return new CudaStream(new Borrowed(handle, deviceId) as unknown as number);
  }

  #text(): string {
    const handle = `handle 0x${this.handle.toString(16)}`;
    const state = this.#state.isDisposed ? ", disposed of" : "";
    return `CudaStream { GPU ${this.deviceId}, ${handle}${state} }`;
  }

  /** The GPU's CUDA ordinal. */
  get deviceId(): number {
    return this.#state.native[at.device_id]!;
  }

  /** The `cudaStream_t`, for libraries that take one. */
  get handle(): Pointer {
    return this.#state.native[at.handle] as Pointer;
  }

  /**
   * Blocks the thread until all that has been queued is done. A large `writeAsync` or `readAsync`
   * that has not been awaited may have been queued only in part.
   *
   * @throws {MemoryError} `INTERNAL` where something queued has failed, with the operations that it
   * may be; `DEVICE_LOST` where CUDA has failed for good; `INVALID_ARG` once the stream is disposed of.
   */
  synchronize(): void {
    streamStateOf("synchronize", this).synchronize();
  }

  /**
   * Whether all that was queued is done.
   *
   * @throws {MemoryError} as {@link synchronize} does.
   */
  isDone(): boolean {
    return streamStateOf("isDone", this).isDone();
  }

  /**
   * Resolves when all that was queued before the call is done. Does not block the event loop.
   *
   * @throws The reason of the signal, as soon as it is aborted.
   * @throws {MemoryError} as {@link synchronize} does.
   *
   * @example
   * ```ts
   * await stream.finished({ signal: AbortSignal.timeout(1000) });
   * ```
   */
  async finished(options?: FinishedOptions): Promise<void> {
    const { signal } = checkOptions("finished", options, ["signal"]);
    checkSignal("finished", signal);
    await streamStateOf("finished", this).finished(signal);
  }

  /**
   * Has what is queued on this stream from now on come after what the other was given so far, also where
   * that is a stream of another GPU. The call does not wait. A large `writeAsync` or `readAsync` on the
   * other that has not been awaited may have been given to it only in part.
   *
   * @throws {MemoryError} `INVALID_ARG` for what is no stream, or one that is disposed of; `UNSUPPORTED`
   * where either stream is being captured into a CUDA graph; `INTERNAL` where CUDA fails, and
   * `DEVICE_LOST` where it has failed for good.
   *
   * @example
   * ```ts
   * using compute = new CudaStream(0);
   * copyBuffer(tensor, staging, { stream }); // an upload
   * compute.waitFor(stream); // what is queued on compute now sees its bytes
   * ```
   */
  waitFor(other: CudaStream): void {
    const state = streamStateOf("waitFor", this);
    state.waitFor(streamStateOf("waitFor", other));
  }

  /**
   * Destroys the stream. What is queued on it is still done, and CUDA keeps it until all transfers
   * that it was given are over. A second call does nothing. Never throws: what fails is logged, so
   * that `using` covers up no other error. One that is somebody else's is only not used any more.
   */
  [Symbol.dispose](): void {
    try {
      this.#state.dispose();
      if (this.#state.isDisposed) streams.dropped.unregister(this);
    } catch (error) {
      log.error("unreleased", `a CudaStream of GPU ${this.deviceId}: ${(error as Error).message}`);
    }
  }

  /**
   * Waits as {@link finished} does, and disposes of the stream, for `await using`. Never throws: what
   * fails is logged.
   *
   * @example
   * ```ts
   * await using stream = new CudaStream(0);
   * copyBuffer(tensor, staging, { stream }); // done when the block ends
   * ```
   */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (!this.#state.isDisposed) await this.#state.finished();
    } catch (error) {
      logUnlessLost(error, `a CudaStream of GPU ${this.deviceId}: `);
    }
    this[Symbol.dispose]();
  }
}

/** @throws {MemoryError} `INVALID_ARG` for what cannot be an ordinal; `UNAVAILABLE` where it is no GPU's. */
function checkGpu(operation: string, deviceId: number): void {
  checkDeviceId(operation, deviceId);
  if (deviceId < gpuCount()) return;
  throw new MemoryError("UNAVAILABLE", `${operation}: there is no GPU ${deviceId}`);
}
