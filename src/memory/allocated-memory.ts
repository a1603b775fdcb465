import type { Pointer } from "bun:ffi";
import { types } from "node:util";
import {
  checkByteSize,
  checkDeviceId,
  checkOptions,
  invalidArgument,
  isWholeNumber,
} from "../arguments.ts";
import {
  type CudaStream,
  holdStream,
  nativeStreamOf,
  queueTransfer,
  releaseStream,
} from "../streams/cuda-stream.ts";
import { HostView, ownerOf } from "./host-view.ts";
import { LeakGuard } from "./leak-guard.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { type MemoryType, memoryTypes, numberOfMemoryType } from "./memory-type.ts";
import {
  checkStatus,
  freeAllocation,
  memoryLibrary,
  nativeError,
  nativeMessage,
  nativeMessages,
  newAllocation,
} from "../native/memory-library.ts";
import { arrayBufferByteSizeMax } from "../native/host-memory.ts";
import type { NativeStream } from "../native/stream.ts";
import {
  memoryAllocation as at,
  memoryStatus,
  memoryTypeNumber,
} from "../native/memory-symbols.ts";
import {
  type Transfer,
  transferOnHost,
  transferOnHostInTurn,
  transferOnOwnStream,
  transferOnStream,
} from "../streams/transfer.ts";

const {
  allocated_memory_alloc,
  allocated_memory_alloc_on_stream,
  allocated_memory_check,
  allocated_memory_fill,
  allocated_memory_free,
  allocated_memory_free_on_stream,
  allocated_memory_write,
  allocated_memory_read,
} = memoryLibrary;

/** One buffer of a memory. */
export interface MemoryBuffer {
  /** Its address. */
  pointer: Pointer;
  /** Its bytes. */
  byteSize: number;
  /** The kind of memory that it lies in. */
  memoryType: MemoryType;
  /** The GPU's CUDA ordinal; 0 for host memory. */
  memoryTypeId: number;
}

/** Options of {@link AllocatedMemory}'s constructor. */
export interface AllocatedMemoryOptions {
  /**
   * The stream that the memory will be used on, and no other before {@link CudaStream.finished}. It
   * may then have memory at once that was freed with that stream, or with another that this one is
   * made to wait for.
   */
  stream?: CudaStream;
  /**
   * What to do where a pool has room only in blocks that streams still use: `"wait"` for them, which
   * blocks the thread (or, with a `stream`, mostly makes only the stream wait), or `"fallBack"` to
   * the next kind of memory. Default `"wait"`.
   */
  whenFull?: "wait" | "fallBack";
}

/** Options of {@link AllocatedMemory.writeAsync} and {@link AllocatedMemory.readAsync}. */
export interface TransferOptions {
  /** The transfer comes after what was queued on this stream. Default: a stream of its own. */
  stream?: CudaStream;
}

/** What there is to see of a memory that has none. */
const noBytes = new Uint8Array(0);

/** A `struct memory_allocation`, into which the native library puts an allocation. */
const allocation = newAllocation();

/** Frees a memory that was dropped without having been freed. */
function freeDropped(allocation: Float64Array): void {
  const memoryType = allocation[at.memory_type]!;
  const memoryTypeId = allocation[at.device_id]!;
  const status = freeAllocation(allocation);
  if (status !== memoryStatus.MEMORY_OK) log.error(nativeMessage());
  log.warn(
    `an AllocatedMemory of ${allocation[at.byte_size]} bytes (${memoryTypes[memoryType]} ` +
      `${memoryTypeId}) was never freed; it has been freed now that it was garbage collected`,
  );
}

/**
 * A memory's `struct memory_allocation`, for this package's own functions; `null` for what is no
 * memory. Does not go through the public properties, which a subclass may override.
 */
export let allocationOf: (memory: AllocatedMemory) => Float64Array | null;

const leakGuard = new LeakGuard<AllocatedMemory, Float64Array>(
  (memory) => allocationOf(memory)!,
  freeDropped,
);

/** The options as the native library takes them. */
interface Request {
  stream: NativeStream | null;
  mayWait: 0 | 1;
}

function requestOf(options: AllocatedMemoryOptions): Request {
  const operation = "new AllocatedMemory";
  checkOptions(operation, options);
  const { stream, whenFull = "wait" } = options;
  if (whenFull !== "wait" && whenFull !== "fallBack") {
    throw invalidArgument(operation, "whenFull", '"wait" or "fallBack"', whenFull);
  }
  return {
    stream: stream === undefined ? null : nativeStreamOf(operation, stream),
    mayWait: whenFull === "wait" ? 1 : 0,
  };
}

function checkArguments(byteSize: unknown, memoryType: unknown, memoryTypeId: unknown): void {
  const operation = "new AllocatedMemory";
  checkByteSize(operation, "byteSize", byteSize);
  if (numberOfMemoryType(memoryType) < 0) {
    throw invalidArgument(operation, "memoryType", '"CPU", "CPU_PINNED" or "GPU"', memoryType);
  }
  checkDeviceId(operation, memoryTypeId);
}

/** @throws {MemoryError} `INVALID_ARG` unless the range lies inside the memory. */
export function checkRange(
  operation: string,
  allocation: Float64Array,
  offset: unknown,
  byteSize: number,
): void {
  if (!isWholeNumber(offset)) {
    throw invalidArgument(operation, "the offset", "a whole number of bytes from 0", offset);
  }
  const totalByteSize = allocation[at.byte_size]!;
  if (byteSize > totalByteSize - offset) {
    throw new MemoryError(
      "INVALID_ARG",
      `${operation}: ${byteSize} bytes at offset ${offset} are not inside a memory of ` +
        `${totalByteSize} bytes`,
    );
  }
}

/** The bytes of a buffer or a view, whatever its element type: as many as it has now, if it can grow. */
function bytesOf(operation: string, name: string, value: unknown): Uint8Array {
  try {
    if (ArrayBuffer.isView(value)) {
      return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    }
    if (types.isAnyArrayBuffer(value)) return new Uint8Array(value, 0, value.byteLength);
  } catch {
    throw invalidArgument(operation, name, "a buffer that is not detached", value);
  }
  throw invalidArgument(operation, name, "an ArrayBuffer or a view of one", value);
}

/**
 * Memory for a tensor: CUDA memory where a GPU was asked for and its pool can serve, else pinned
 * system memory, else non-pinned system memory. What was really got is in {@link memoryType}. The
 * first fallback of each kind in a process is warned about. After Triton's `AllocatedMemory`.
 *
 * Free it with `using`, {@link free} or `[Symbol.dispose]`. Memory that is only dropped is freed
 * once it is garbage collected, with a warning, which may be late.
 *
 * @example
 * ```ts
 * using tensor = new AllocatedMemory(4096, "GPU", 0);
 * tensor.write(new Float32Array(1024));
 * if (tensor.memoryType !== "GPU") console.log("the pool of GPU 0 is full");
 * ```
 */
export class AllocatedMemory implements Disposable {
  /** 0 where there is no memory, or no longer. */
  #address = 0;
  #byteSize = 0;
  #memoryType = memoryTypeNumber.MEMORY_CPU as number;
  #memoryTypeId = 0;
  #generation = 0;
  #leakTicket = 0;
  #view: HostView | null = null;
  /** Transfers under way, and reads and writes of Bun's through a view that was taken away. */
  #useCount = 0;
  /** Whether the memory was freed with a stream, so that transfers under way are to be finished. */
  #isFreedInOrder = false;
  /** How to free the memory when the last of them is over, once it has been freed. */
  #freeLater: (() => void) | null = null;

  static {
    allocationOf = (memory) => {
      if (!(#address in memory)) return null;
      const allocation = newAllocation();
      allocation[at.address] = memory.#address;
      allocation[at.byte_size] = memory.#byteSize;
      allocation[at.memory_type] = memory.#memoryType;
      allocation[at.device_id] = memory.#memoryTypeId;
      allocation[at.generation] = memory.#generation;
      return allocation;
    };
  }

  /**
   * @param byteSize Bytes, from 0, which allocates nothing.
   * @param memoryType `"GPU"` begins at CUDA memory, `"CPU_PINNED"` and `"CPU"` at pinned memory.
   * @param memoryTypeId The GPU's CUDA ordinal; not looked at for host memory.
   * @param options For use with streams.
   * @throws {MemoryError} `INVALID_ARG` for arguments that are not what they have to be. It does not
   * throw for lack of memory: a request that nothing can serve is an empty memory, and an error is
   * logged.
   */
  constructor(
    byteSize: number,
    memoryType: MemoryType,
    memoryTypeId = 0,
    options?: AllocatedMemoryOptions,
  ) {
    const wanted = numberOfMemoryType(memoryType);
    if (!isWholeNumber(byteSize) || wanted < 0 || !isWholeNumber(memoryTypeId)) {
      checkArguments(byteSize, memoryType, memoryTypeId);
    }
    const request = options === undefined ? null : requestOf(options);
    if (byteSize === 0) {
      this.#memoryType = wanted;
      if (memoryType === "GPU") this.#memoryTypeId = memoryTypeId;
      return;
    }
    const status =
      request === null
        ? allocated_memory_alloc(allocation, byteSize, wanted, memoryTypeId)
        : allocated_memory_alloc_on_stream(
            allocation,
            byteSize,
            wanted,
            memoryTypeId,
            request.stream,
            request.mayWait,
          );
    if (status < memoryStatus.MEMORY_OK) {
      log.error(nativeMessage());
      return;
    }
    this.#address = allocation[at.address]!;
    this.#byteSize = byteSize;
    this.#memoryType = allocation[at.memory_type]!;
    this.#memoryTypeId = allocation[at.device_id]!;
    this.#generation = allocation[at.generation]!;
    this.#leakTicket = leakGuard.watch(this);
    if (status === memoryStatus.MEMORY_OK_WITH_WARNINGS) nativeMessages().forEach(log.warn);
  }

  /** Bytes that were asked for and got; 0 where nothing was got, and once freed. */
  get totalByteSize(): number {
    return this.#byteSize;
  }

  /** How many buffers there are: 1, or 0 where there is no memory. */
  get bufferCount(): number {
    return this.#address === 0 ? 0 : 1;
  }

  /** The address, a multiple of 512; `null` where there is no memory. */
  get pointer(): Pointer | null {
    return this.#address === 0 ? null : (this.#address as Pointer);
  }

  /** The kind of memory that was really got. */
  get memoryType(): MemoryType {
    return memoryTypes[this.#memoryType]!;
  }

  /** The GPU's CUDA ordinal; 0 for host memory, also after a fallback. */
  get memoryTypeId(): number {
    return this.#memoryTypeId;
  }

  /**
   * The buffer at an index, or `null` where there is none. An allocated memory has one buffer at
   * the most; Triton's other kinds of memory have several.
   *
   * @throws {MemoryError} `INVALID_ARG` for an index that is no whole number.
   */
  bufferAt(index: number): MemoryBuffer | null {
    if (!isWholeNumber(index)) {
      throw invalidArgument("bufferAt", "index", "a whole number from 0", index);
    }
    const { pointer, totalByteSize, memoryType, memoryTypeId } = this;
    if (pointer === null || index > 0) return null;
    return { pointer, byteSize: totalByteSize, memoryType, memoryTypeId };
  }

  /**
   * Copies the source's bytes into the memory, of whatever type, at `byteOffset`. They are there
   * when it returns.
   *
   * @throws {MemoryError} `INVALID_ARG` where they do not fit, before a byte moves; `UNAVAILABLE`
   * where the memory's manager was reset; `INTERNAL` where CUDA fails.
   */
  write(source: ArrayBuffer | ArrayBufferView, byteOffset = 0): void {
    const bytes = bytesOf("write", "source", source);
    const allocation = allocationOf(this)!;
    checkRange("write", allocation, byteOffset, bytes.byteLength);
    if (bytes.byteLength === 0) return;
    checkStatus(allocated_memory_write(allocation, byteOffset, bytes, bytes.byteLength, null));
  }

  /**
   * Fills the target with the memory's bytes from `byteOffset` on, out of memory of any type.
   *
   * @throws {MemoryError} `INVALID_ARG` where the memory has not that many, before a byte moves;
   * `UNAVAILABLE` where the memory's manager was reset; `INTERNAL` where CUDA fails.
   */
  read(target: ArrayBufferView, byteOffset = 0): void {
    const bytes = bytesOf("read", "target", target);
    const allocation = allocationOf(this)!;
    checkRange("read", allocation, byteOffset, bytes.byteLength);
    if (bytes.byteLength === 0) return;
    checkStatus(allocated_memory_read(allocation, byteOffset, bytes, bytes.byteLength, null));
  }

  /**
   * As {@link write}, without blocking the event loop while a GPU works. Large transfers are made
   * piece by piece through pinned memory; where the pinned pool is full they are slower.
   *
   * The source must stay as it is until the promise is settled. Freeing the memory earlier is safe;
   * the promise is rejected then, unless the last bytes were on their way already.
   *
   * With a stream the bytes are there for whatever is queued on it once the promise is resolved.
   * Transfers of one stream come after each other.
   *
   * @throws {MemoryError} as {@link write} does; also `INVALID_ARG` where the source is detached
   * or shrinks meanwhile, and `UNAVAILABLE` where the memory is freed meanwhile.
   *
   * @example
   * ```ts
   * await tensor.writeAsync(await Bun.file("weights.bin").bytes());
   * ```
   */
  async writeAsync(
    source: ArrayBuffer | ArrayBufferView,
    byteOffset = 0,
    options?: TransferOptions,
  ): Promise<void> {
    await this.#transfer("write", source, byteOffset, options);
  }

  /**
   * As {@link read}, without blocking the event loop while a GPU works; see {@link writeAsync}. What
   * the target has before the promise is resolved is not defined.
   *
   * @throws {MemoryError} as {@link read} does; also `INVALID_ARG` where the target is detached
   * or shrinks meanwhile, and `UNAVAILABLE` where the memory is freed meanwhile.
   *
   * @example
   * ```ts
   * const result = new Float32Array(1024);
   * await tensor.readAsync(result, 0, { stream });
   * ```
   */
  async readAsync(
    target: ArrayBufferView,
    byteOffset = 0,
    options?: TransferOptions,
  ): Promise<void> {
    await this.#transfer("read", target, byteOffset, options);
  }

  async #transfer(
    direction: Transfer["direction"],
    buffer: unknown,
    byteOffset: number,
    options: TransferOptions | undefined,
  ): Promise<void> {
    const operation = `${direction}Async`;
    checkOptions(operation, options);
    const stream = options?.stream;
    if (stream !== undefined) nativeStreamOf(operation, stream);
    const bytes = bytesOf(operation, direction === "write" ? "source" : "target", buffer);
    const allocation = allocationOf(this)!;
    const byteSize = bytes.byteLength; // not later: the buffer may be detached or shrink meanwhile
    checkRange(operation, allocation, byteOffset, byteSize);
    if (byteSize === 0) return;
    const where = `${memoryTypes[this.#memoryType]} memory ${this.#memoryTypeId}, offset ${byteOffset}`;
    const description = `${operation} of ${byteSize} bytes (${where})`;
    const isFreed = () => this.#address === 0 && !this.#isFreedInOrder;
    const transfer: Transfer = {
      description,
      direction,
      bytes,
      byteSize,
      allocation,
      byteOffset,
      isBackward: false,
      isFreed,
    };
    // What is not staged the GPU reads from host memory itself, or writes there.
    const viewed = ownerOf(bytes.buffer) as AllocatedMemory | undefined;
    if (viewed === this) {
      const [from, to] =
        direction === "write" ? [bytes.byteOffset, byteOffset] : [byteOffset, bytes.byteOffset];
      transfer.isBackward = from < to; // the two may overlap
    }
    this.#useCount++;
    if (viewed !== undefined) viewed.#useCount++;
    try {
      await this.#run(transfer, stream);
    } catch (error) {
      if (!(error instanceof MemoryError) || error.message.startsWith(description)) throw error;
      throw new MemoryError(error.code, `${description}: ${error.message}`);
    } finally {
      this.#endUse();
      if (viewed !== undefined) viewed.#endUse();
    }
  }

  #endUse(): void {
    if (--this.#useCount === 0) this.#freeLater?.();
  }

  async #run(transfer: Transfer, stream: CudaStream | undefined): Promise<void> {
    const isOnGpu = this.#memoryType === memoryTypeNumber.MEMORY_GPU;
    if (stream !== undefined) {
      const operation = { description: transfer.description, memories: [this] };
      const run = isOnGpu ? transferOnStream : transferOnHost;
      await queueTransfer(stream, operation, (native) => run(transfer, native));
    } else if (isOnGpu) {
      await transferOnOwnStream(transfer, this.#memoryTypeId);
    } else {
      await transferOnHostInTurn(transfer);
    }
  }

  /**
   * Sets every byte, in memory of any type. They are set when it returns. As Triton's `SetMemory`.
   *
   * @param byte From 0 to 255.
   * @throws {MemoryError} `INVALID_ARG` for what is no byte; `UNAVAILABLE` where the memory's manager
   * was reset; `INTERNAL` where CUDA fails.
   *
   * @example
   * ```ts
   * tensor.fill(0);
   * ```
   */
  fill(byte: number): void {
    if (!isWholeNumber(byte) || byte > 255) {
      throw invalidArgument("fill", "byte", "a whole number from 0 to 255", byte);
    }
    if (this.#address !== 0) checkStatus(allocated_memory_fill(allocationOf(this)!, byte));
  }

  /**
   * Host memory itself, without a copy: what is written here is in the memory. Always the same view.
   * After {@link free}, and after `PinnedMemoryManager.reset` in this thread, its length is 0. As
   * long as the view is held the memory is not garbage collected. Do not transfer its buffer to
   * another: that one would outlive the memory.
   *
   * The first use costs some microseconds, and about 200 for 16 MiB, because the garbage collector
   * takes the memory for memory of its own and runs more often; every other use costs nothing.
   *
   * @throws {MemoryError} `UNSUPPORTED` for a GPU's memory, which the host cannot look at, and for
   * more than 4 GiB.
   *
   * @example
   * ```ts
   * using staging = new AllocatedMemory(1 << 20, "CPU_PINNED");
   * staging.bytes.set(chunk, offset);
   * copyBuffer(tensor, staging);
   * ```
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#memoryType === memoryTypeNumber.MEMORY_GPU) {
      throw new MemoryError(
        "UNSUPPORTED",
        `bytes: the memory is on GPU ${this.#memoryTypeId}, where the host cannot look at it; ` +
          "use read",
      );
    }
    if (this.#byteSize > arrayBufferByteSizeMax) {
      throw new MemoryError(
        "UNSUPPORTED",
        `bytes: a view has at most ${arrayBufferByteSizeMax} bytes, the memory ${this.#byteSize}`,
      );
    }
    if (this.#address === 0) return noBytes;
    this.#view ??= this.#newView();
    return this.#view.bytes;
  }

  #newView(): HostView {
    // The manager may have been reset, and the address be somebody else's.
    checkStatus(allocated_memory_check(allocationOf(this)!));
    return new HostView(this.#address as Pointer, this.#byteSize, this);
  }

  /**
   * Gives the memory back to where it came from. A second call does nothing, and neither does one
   * after the manager was reset. While a transfer is under way the memory stays until that is over,
   * which is soon (its promise may be rejected), or with a stream when it is done; and also while Bun
   * reads a file into {@link bytes}, say, or compresses them.
   *
   * @param stream What was queued on it so far may still use the memory: it goes back when that is
   * done. The call does not wait. A later request for this stream may have the memory at once.
   * @throws {MemoryError} `INVALID_ARG` where the memory was freed already through its pointer, and
   * for what is no stream, or one that is disposed of; `INTERNAL` where CUDA cannot tell when the
   * stream is done: then nothing is freed.
   *
   * @example
   * ```ts
   * copyBuffer(tensor, staging, { stream });
   * staging.free(stream);
   * ```
   */
  free(stream?: CudaStream): void {
    const address = this.#address;
    if (stream !== undefined) nativeStreamOf("free", stream);
    if (address === 0) return;
    this.#takeViewAway();
    if (stream !== undefined || this.#useCount > 0) return this.#freeAfterwards(stream);
    this.#forget();
    const status = allocated_memory_free(
      address,
      this.#memoryType,
      this.#memoryTypeId,
      this.#generation,
    );
    if (status !== memoryStatus.MEMORY_OK) throw nativeError(status);
  }

  /** Where that cannot be yet the memory is in use until it can. */
  #takeViewAway(): void {
    const view = this.#view;
    if (view === null) return;
    this.#view = null;
    if (view.tryToDetach()) return;
    this.#useCount++;
    void view.detached().then(() => this.#endUse());
  }

  /** After the transfers that are under way, and what the stream was given. */
  #freeAfterwards(stream: CudaStream | undefined): void {
    const allocation = allocationOf(this)!;
    if (this.#useCount === 0) {
      checkStatus(allocated_memory_free_on_stream(allocation, nativeStreamOf("free", stream)));
      return this.#forget();
    }
    this.#isFreedInOrder = stream !== undefined;
    const held = stream === undefined ? null : holdStream("free", stream);
    this.#freeLater = () => {
      this.#freeLater = null;
      const status =
        held === null
          ? freeAllocation(allocation)
          : allocated_memory_free_on_stream(allocation, held);
      if (status !== memoryStatus.MEMORY_OK) log.error(nativeMessage());
      if (stream !== undefined) releaseStream(stream);
    };
    this.#forget();
  }

  /** The memory is not this object's any more. */
  #forget(): void {
    this.#address = 0;
    this.#byteSize = 0;
    leakGuard.release(this, this.#leakTicket);
  }

  /** The same as {@link free}, for `using`. */
  [Symbol.dispose](): void {
    this.free();
  }
}
