import type { Pointer } from "bun:ffi";
import { checkDeviceId, invalidArgument } from "../arguments.ts";
import { gpuCount } from "../devices/supported-gpus.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { cudaStream as at } from "../native/memory-symbols.ts";
import { notCloneable } from "../native/not-cloneable.ts";
import { threadState } from "../native/thread-state.ts";
import { StreamState } from "./stream-state.ts";

/** Destroys a stream that was dropped without having been disposed of. */
function destroyDropped(streamState: StreamState): void {
  if (streamState.isDisposed) return;
  try {
    streamState.dispose();
  } catch (error) {
    log.error("unreleased", (error as Error).message);
  }
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
 */
export class CudaStream implements Disposable {
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
  constructor(deviceId = 0) {
    checkDeviceId("new CudaStream", deviceId);
    if (deviceId >= gpuCount()) {
      throw new MemoryError("UNAVAILABLE", `new CudaStream: there is no GPU ${deviceId}`);
    }
    this.#state = new StreamState(this);
    streams.states.set(this, this.#state);
    streams.dropped.register(this, this.#state, this);
    this.#state.create(deviceId);
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
   * @throws {MemoryError} as {@link synchronize} does.
   */
  async finished(): Promise<void> {
    await streamStateOf("finished", this).finished();
  }

  /**
   * Destroys the stream. What is queued on it is still done, and CUDA keeps it until all transfers
   * that it was given are over. A second call does nothing. Never throws: what fails is logged, so
   * that `using` covers up no other error.
   */
  [Symbol.dispose](): void {
    try {
      this.#state.dispose();
      if (this.#state.isDisposed) streams.dropped.unregister(this);
    } catch (error) {
      log.error("unreleased", `a CudaStream of GPU ${this.deviceId}: ${(error as Error).message}`);
    }
  }
}
