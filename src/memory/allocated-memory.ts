import type { Pointer } from "bun:ffi";
import { invalidArgument, isWholeNumber } from "../arguments.ts";
import { log } from "../logger.ts";
import {
  freeAllocation,
  type NativeAllocation,
  newAllocation,
  processOwner,
} from "../native/allocation.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import {
  memoryAllocation as at,
  memoryStatus,
  memoryTypeNumber,
} from "../native/memory-symbols.ts";
import { checkStatus, nativeError, nativeMessage, nativeMessages } from "../native/status.ts";
import { type CudaStream, streamStateOf } from "../streams/cuda-stream.ts";
import type { StreamState } from "../streams/stream-state.ts";
import {
  allocateForStream,
  type AllocatedMemoryOptions,
  checkAllocationArguments,
  streamOfRequest,
} from "./allocation-request.ts";
import { freeDropped } from "./dropped-memory.ts";
import { checkViewable, HostView } from "./host-view.ts";
import { bytesOf } from "./js-bytes.ts";
import { LeakGuard } from "./leak-guard.ts";
import type { MemoryBuffer } from "./memory-buffer.ts";
import { checkRange } from "./memory-range.ts";
import { transferBytes, type TransferOptions, transferRequestOf } from "./memory-transfer.ts";
import { type MemoryType, memoryTypes, numberOfMemoryType } from "./memory-type.ts";
import { MemoryUses } from "./memory-uses.ts";

const {
  allocated_memory_alloc,
  allocated_memory_check,
  allocated_memory_fill,
  allocated_memory_free,
  allocated_memory_write,
  allocated_memory_read,
} = memoryLibrary;

/** The view of a memory that was freed, or that there never was. */
const noBytes = new Uint8Array(0);

/** Where the native library puts the allocation that it has just made. */
const allocated = newAllocation();

/** Reads the private allocation of a memory, or null for any other object. The class sets it. */
let readAllocation: (object: object) => NativeAllocation | null;

/**
 * The allocation of a memory, for this package's own functions; `null` for any other value. It does
 * not go through the public properties, which a subclass may override.
 */
export function allocationOf(memory: unknown): NativeAllocation | null {
  return typeof memory === "object" && memory !== null ? readAllocation(memory) : null;
}

const leakGuard = new LeakGuard<AllocatedMemory, NativeAllocation>(
  (memory) => readAllocation(memory)!,
  freeDropped,
);

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
  /** The address; 0 where there is no memory, or no longer. */
  #address = 0;
  #byteSize = 0;
  #memoryType = memoryTypeNumber.MEMORY_CPU as number;
  #memoryTypeId = 0;
  #generation = 0;
  #leakTicket = 0;
  #view: HostView | null = null;
  /** Made when there is a view or a transfer, which most memories never have. */
  #uses: MemoryUses | null = null;

  static {
    readAllocation = (object) => (#address in object ? object.#allocation() : null);
  }

  /**
   * @param byteSize Bytes, from 0, which allocates nothing.
   * @param memoryType `"GPU"` begins at CUDA memory, `"CPU_PINNED"` and `"CPU"` at pinned memory.
   * @param memoryTypeId The GPU's CUDA ordinal; not looked at for host memory.
   * @param options For use with streams.
   * @throws {MemoryError} `INVALID_ARG` for arguments that are not what they have to be. It does
   * not throw for lack of memory: a request that nothing can serve is an empty memory, and an error
   * is logged.
   */
  constructor(
    byteSize: number,
    memoryType: MemoryType,
    memoryTypeId = 0,
    options?: AllocatedMemoryOptions,
  ) {
    const wanted = numberOfMemoryType(memoryType);
    if (!isWholeNumber(byteSize) || wanted < 0 || !isWholeNumber(memoryTypeId)) {
      checkAllocationArguments(byteSize, memoryType, memoryTypeId);
    }
    const stream = options === undefined ? null : streamOfRequest(options);
    if (byteSize === 0) {
      this.#memoryType = wanted;
      if (memoryType === "GPU") this.#memoryTypeId = memoryTypeId;
      return;
    }
    const status =
      stream === null
        ? allocated_memory_alloc(allocated, byteSize, wanted, memoryTypeId, processOwner)
        : allocateForStream(allocated, byteSize, wanted, memoryTypeId, stream);
    if (status < memoryStatus.MEMORY_OK) {
      log.error(nativeMessage());
      return;
    }
    this.#address = allocated[at.address]!;
    this.#byteSize = byteSize;
    this.#memoryType = allocated[at.memory_type]!;
    this.#memoryTypeId = allocated[at.device_id]!;
    this.#generation = allocated[at.generation]!;
    this.#leakTicket = leakGuard.watch(this);
    if (status === memoryStatus.MEMORY_OK_WITH_WARNINGS) nativeMessages().forEach(log.warn);
  }

  #allocation(): NativeAllocation {
    const allocation = newAllocation();
    allocation[at.address] = this.#address;
    allocation[at.byte_size] = this.#byteSize;
    allocation[at.memory_type] = this.#memoryType;
    allocation[at.device_id] = this.#memoryTypeId;
    allocation[at.generation] = this.#generation;
    return allocation;
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
   * The buffer at an index, or `null` where there is none. An allocated memory has at most one
   * buffer, while Triton's other kinds of memory have several.
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
   * Copies the source's bytes into memory of any type, at `byteOffset`. They are there when the
   * call returns.
   *
   * @throws {MemoryError} `INVALID_ARG` where they do not fit, before a byte moves; `UNAVAILABLE`
   * where the memory's manager was reset; `INTERNAL` where CUDA fails.
   */
  write(source: ArrayBuffer | ArrayBufferView, byteOffset = 0): void {
    const bytes = bytesOf("write", "source", source);
    const allocation = this.#allocation();
    checkRange("write", allocation, byteOffset, bytes.byteLength);
    if (bytes.byteLength === 0) return;
    checkStatus(allocated_memory_write(allocation, byteOffset, bytes, bytes.byteLength, null));
  }

  /**
   * Fills the target with the bytes of memory of any type, from `byteOffset` on.
   *
   * @throws {MemoryError} `INVALID_ARG` where the memory has not that many, before a byte moves;
   * `UNAVAILABLE` where the memory's manager was reset; `INTERNAL` where CUDA fails.
   */
  read(target: ArrayBufferView, byteOffset = 0): void {
    const bytes = bytesOf("read", "target", target);
    const allocation = this.#allocation();
    checkRange("read", allocation, byteOffset, bytes.byteLength);
    if (bytes.byteLength === 0) return;
    checkStatus(allocated_memory_read(allocation, byteOffset, bytes, bytes.byteLength, null));
  }

  /**
   * Writes as {@link write} does, without blocking the event loop while a GPU works. Large
   * transfers are made piece by piece through pinned memory; where the pinned pool is full they are
   * slower.
   *
   * The source must stay as it is until the promise is settled. Freeing the memory earlier is safe;
   * the promise is rejected then, unless the last bytes were on their way already.
   *
   * With a stream the bytes are there for whatever is queued on it once the promise is resolved.
   * Transfers of one stream come after each other.
   *
   * @throws {MemoryError} as {@link write} does; also `INVALID_ARG` where the source is detached or
   * shrinks meanwhile, and `UNAVAILABLE` where the memory is freed meanwhile.
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
    const request = transferRequestOf("writeAsync", source, options);
    this.#uses ??= new MemoryUses(this);
    await transferBytes(request, this.#allocation(), byteOffset, this.#uses);
  }

  /**
   * Reads as {@link read} does, without blocking the event loop while a GPU works; see
   * {@link writeAsync}. What the target has before the promise is resolved is not defined.
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
    const request = transferRequestOf("readAsync", target, options);
    this.#uses ??= new MemoryUses(this);
    await transferBytes(request, this.#allocation(), byteOffset, this.#uses);
  }

  /**
   * Sets every byte of memory of any type, before the call returns. After Triton's `SetMemory`.
   *
   * @param byte From 0 to 255.
   * @throws {MemoryError} `INVALID_ARG` for what is no byte; `UNAVAILABLE` where the memory's
   * manager was reset; `INTERNAL` where CUDA fails.
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
    if (this.#address !== 0) checkStatus(allocated_memory_fill(this.#allocation(), byte));
  }

  /**
   * A view of host memory itself, without a copy: what is written to it is in the memory. It is
   * always the same view. After {@link free}, and after `PinnedMemoryManager.reset` in this thread,
   * its length is 0. As long as the view is held the memory is not garbage collected. Do not
   * transfer the view's buffer to another buffer, which would outlive the memory.
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
    return this.#view?.bytes ?? this.#newView();
  }

  #newView(): Uint8Array<ArrayBuffer> {
    checkViewable(this.#memoryType, this.#memoryTypeId, this.#byteSize);
    if (this.#address === 0) return noBytes;
    // The manager may have been reset, and the address be somebody else's.
    checkStatus(allocated_memory_check(this.#allocation()));
    this.#uses ??= new MemoryUses(this);
    this.#view = new HostView(this.#address as Pointer, this.#byteSize, this.#uses);
    return this.#view.bytes;
  }

  /**
   * Gives the memory back to where it came from. A second call does nothing, and neither does one
   * after the manager was reset. While a transfer is under way the memory stays until that is over,
   * which is soon (its promise may be rejected), or with a stream when the transfer is done. The
   * memory also stays while Bun reads a file into {@link bytes}, say, or compresses them.
   *
   * @param stream A stream whose queued work may still use the memory, which goes back when that
   * work is done. The call does not wait. A later request for this stream may have the memory at
   * once.
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
    const streamState = stream === undefined ? null : streamStateOf("free", stream);
    const address = this.#address;
    if (address === 0) return;
    this.#view?.detach();
    this.#view = null;
    if (streamState !== null || this.#uses?.isInUse) return this.#freeInOrder(streamState);
    this.#forget();
    const status = allocated_memory_free(
      address,
      this.#memoryType,
      this.#memoryTypeId,
      this.#generation,
      processOwner,
    );
    if (status !== memoryStatus.MEMORY_OK) throw nativeError(status);
  }

  /** Frees the memory after the uses that are under way, and after what the stream was given. */
  #freeInOrder(streamState: StreamState | null): void {
    const allocation = this.#allocation();
    if (this.#uses?.isInUse) this.#uses.freeAfterwards(allocation, streamState);
    else checkStatus(freeAllocation(allocation, streamState?.native));
    this.#forget();
  }

  /** Makes this an empty memory, of which there is nothing to free. */
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
