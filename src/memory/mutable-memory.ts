import type { Pointer } from "bun:ffi";
import { invalidArgument, isWholeNumber } from "../arguments.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { freeAllocation, type NativeAllocation, newAllocation } from "../native/allocation.ts";
import { arrayBufferByteSizeMax } from "../native/host-memory.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { deviceIdOf, memoryTypeOf } from "../native/memory-place.ts";
import {
  memoryAllocation as at,
  memoryStatus,
  memoryTypeNumber,
} from "../native/memory-symbols.ts";
import { notCloneable } from "../native/not-cloneable.ts";
import { checkStatus, nativeError } from "../native/status.ts";
import { type CudaStream, streamStatesOf } from "../streams/cuda-stream.ts";
import type { StreamState } from "../streams/stream-state.ts";
import {
  type BorrowedMemory,
  Borrowing,
  checkBorrowed,
  pointsOf,
  releaseFailed,
} from "./borrowed-memory.ts";
import { unwatchMemory, watchMemory } from "./collected-memory.ts";
import { checkViewable, hostResetCount } from "./host-view.ts";
import { bytesOf } from "./js-bytes.ts";
import { LeakGuard } from "./leak-guard.ts";
import { foreignAllocationOf, memoryKey } from "./memory-access.ts";
import type { MemoryBuffer } from "./memory-buffer.ts";
import { MemoryExtras } from "./memory-extras.ts";
import { checkPart, checkRange } from "./memory-range.ts";
import { newReadable, type ReadableOptions, readableRequestOf } from "./memory-readable.ts";
import {
  type MemorySource,
  sourceRequestOf,
  type WriteFromOptions,
  writeSource,
} from "./memory-source.ts";
import {
  transferBytes,
  type TransferOptions,
  type TransferRequest,
  transferRequestOf,
} from "./memory-transfer.ts";
import { type MemoryType, memoryTypes } from "../native/memory-type.ts";
import type { MemoryUses } from "./memory-uses.ts";

const {
  allocated_memory_fill,
  allocated_memory_free,
  allocated_memory_read,
  allocated_memory_write,
  memory_detach,
  memory_hold_begin,
  memory_hold_end,
} = memoryLibrary;

/** Why a memory has no address. */
export const absence = {
  /** It has 0 bytes, which every operation may be asked to work on. */
  empty: 0,
  neverGot: 1,
  freed: 2,
  detached: 3,
} as const;

const absenceText: Readonly<Record<number, string>> = {
  [absence.neverGot]: "was never got, for want of memory",
  [absence.freed]: "was freed",
  [absence.detached]: "was detached",
};

// What this package's own functions do with the private side of a memory. The class sets it. None of it
// goes through public properties, which a subclass may override.

/** Reads the allocation of a memory, or null for any other object. */
let readAllocation: (operation: string, object: object) => NativeAllocation | null;

/** Has the collector watch a memory that lives longer than the job that made it. */
let promote: (memory: MutableMemory) => void;

/** What a memory is shown as, or any other value in its place. */
export let textOf: (value: unknown, name: string) => string;

/** The method by which a runtime asks an object how it is to be shown. */
export const inspectKey = Symbol.for("nodejs.util.inspect.custom");

/** Makes a memory that is {@link unset} what the native library has given, or says why it has nothing. */
export let setMemory: (
  memory: MutableMemory,
  address: number,
  byteSize: number,
  place: number,
  origin: number,
) => void;

/** The allocation of a memory that has one, or `null`. */
export let allocationOfOwn: (memory: MutableMemory) => NativeAllocation | null;

/** Takes memory of a pool or of the heap away from an object, and returns what stands for it. */
export let detachMemory: (memory: MutableMemory) => number;

/**
 * The allocation of a memory, for this package's own functions; `null` for any other value.
 *
 * @throws {MemoryError} `UNAVAILABLE` where the memory was freed, detached or never got.
 */
export function allocationOf(operation: string, memory: unknown): NativeAllocation | null {
  if (typeof memory !== "object" || memory === null) return null;
  return readAllocation(operation, memory) ?? foreignAllocationOf(operation, memory);
}

const leakGuard = new LeakGuard<MutableMemory>((memory) => promote(memory));

/** Makes a memory that {@link setMemory} or the class itself gives its bytes. */
export const unset = {} as BorrowedMemory;

/**
 * Memory that can be written and read, whoever owns it: a library's, for example, or a part of another
 * memory. Nothing is freed when its use ends. An {@link AllocatedMemory} is one that owns its bytes.
 * After Triton's `MutableMemory`.
 *
 * The bytes must be there until the memory was disposed of and `release` is called, once, when nothing
 * uses them any more: no transfer, no view, no {@link holdUntil}.
 *
 * @example
 * ```ts
 * const pointer = CudaMemoryManager.alloc(4096, 0);
 * using memory = new MutableMemory({
 *   pointer,
 *   byteSize: 4096,
 *   memoryType: "GPU",
 *   memoryTypeId: 0,
 *   release: () => CudaMemoryManager.free(pointer, 0),
 * });
 * memory.fill(0);
 * ```
 */
export class MutableMemory implements Disposable {
  /** Tells this memory from all others of the thread. */
  readonly id = leakGuard.newTicket();
  /** A memory cannot be posted as it is, but {@link AllocatedMemory.detach} gives what can be. */
  readonly cannotBeCloned = notCloneable;

  /** The address of the first byte; 0 where there is no memory, or no longer. */
  #address = 0;
  #byteSize = 0;
  /** The kind of memory and the GPU, as the native library has them in one number. */
  #place = memoryTypeNumber.MEMORY_CPU as number;
  /** Where there is no address: why, as {@link absence} has it. */
  #origin: number = absence.empty;
  /** Made when there is something, which most memories never have. */
  #extras: MemoryExtras<MutableMemory> | null = null;

  static {
    readAllocation = (operation, object) =>
      #address in object ? object.#liveAllocation(operation) : null;
    promote = (memory) => memory.#promote();
    setMemory = (memory, address, byteSize, place, origin) => {
      memory.#address = address;
      memory.#byteSize = byteSize;
      memory.#place = place;
      memory.#origin = origin;
      if (address !== 0) leakGuard.watch(memory, memory.id);
    };
    textOf = (value, name) => {
      const isMemory = typeof value === "object" && value !== null && #address in value;
      return `${name} {${isMemory ? ` ${value.#text()} ` : ""}}`;
    };
    allocationOfOwn = (memory) => (memory.#address === 0 ? null : memory.#allocation());
    detachMemory = (memory) => memory.#detach();
    Object.defineProperties(MutableMemory.prototype, {
      [memoryKey]: {
        value(this: object, operation: string) {
          return readAllocation(operation, this);
        },
      },
      [inspectKey]: {
        value(this: unknown) {
          return textOf(this, "MutableMemory");
        },
      },
    });
  }

  /**
   * @param source Where the bytes are, and what is to be called when their use ends.
   * @throws {MemoryError} `INVALID_ARG` for what is not what it has to be, and for an address of
   * another kind of memory, as far as CUDA knows; `UNAVAILABLE` where there is no such GPU.
   */
  constructor(source: BorrowedMemory) {
    if (source === unset) return;
    const { allocation, release } = checkBorrowed(source);
    this.#address = allocation[at.address]!;
    this.#byteSize = allocation[at.byte_size]!;
    this.#place = allocation[at.place]!;
    this.#origin = allocation[at.origin]!;
    this.#extras = new MemoryExtras();
    this.#extras.borrowing = new Borrowing(this, allocation, release);
  }

  // ---- Where the bytes are

  /** Ends the guard's watch, and begins the collector's, unless the memory was freed meanwhile. */
  #promote(): void {
    if (this.#address === 0) return;
    const watch = watchMemory(this.#address, this.#byteSize, this.#place, this.#origin);
    if (watch !== null) (this.#extras ??= new MemoryExtras()).watch = watch;
  }

  #allocation(): NativeAllocation {
    const allocation = newAllocation();
    allocation[at.address] = this.#address;
    allocation[at.byte_size] = this.#byteSize;
    allocation[at.place] = this.#place;
    allocation[at.origin] = this.#origin;
    allocation[at.block_offset] = this.#extras === null ? 0 : this.#extras.blockOffset;
    return allocation;
  }

  /** The memory that this is a part of, or `null`. */
  get #parent(): MutableMemory | null {
    return this.#extras === null ? null : this.#extras.parent;
  }

  /** Why there is no memory to work on: a memory, or one that it is a part of, has none. */
  static #absenceOf(memory: MutableMemory | null): number {
    for (; memory !== null; memory = memory.#parent) {
      if (memory.#address === 0 && memory.#origin !== absence.empty) return memory.#origin;
    }
    return absence.empty;
  }

  /** @throws {MemoryError} `UNAVAILABLE` where there is no memory to work on. */
  #checkPresent(operation: string): void {
    const reason = MutableMemory.#absenceOf(this);
    if (reason === absence.empty) return;
    throw new MemoryError("UNAVAILABLE", `${operation}: the memory ${absenceText[reason]}`);
  }

  /** @throws {MemoryError} `UNAVAILABLE` where there is no memory to work on. */
  #liveAllocation(operation: string): NativeAllocation {
    this.#checkPresent(operation);
    const allocation = this.#allocation();
    if (this.#address === 0) allocation[at.origin] = 0;
    return allocation;
  }

  /** The memory that a memory is a part of in the end, or itself: what counts the uses. */
  static #wholeOf(memory: MutableMemory): MutableMemory {
    for (let parent = memory.#parent; parent !== null; parent = memory.#parent) memory = parent;
    return memory;
  }

  #uses(): MemoryUses {
    const whole = MutableMemory.#wholeOf(this);
    return (whole.#extras ??= new MemoryExtras()).usesOf(whole);
  }

  #text(): string {
    const place = this.memoryType === "GPU" ? `GPU ${this.memoryTypeId}` : this.memoryType;
    const state = absenceText[MutableMemory.#absenceOf(this)];
    if (state !== undefined) return state;
    if (this.#address === 0) return `0 bytes, ${place}`;
    return `${this.#byteSize} bytes, ${place}, at 0x${this.#address.toString(16)}`;
  }

  /** Whether there are bytes. */
  #hasBytes(): boolean {
    return (
      this.#address !== 0 &&
      (this.#extras === null || MutableMemory.#absenceOf(this) === absence.empty)
    );
  }

  /** The number of bytes; 0 where nothing was got, and once freed. */
  get totalByteSize(): number {
    return this.#hasBytes() ? this.#byteSize : 0;
  }

  /** How many buffers there are: 1, or 0 where there is no memory. */
  get bufferCount(): number {
    return this.#hasBytes() ? 1 : 0;
  }

  /** The address; `null` where there is no memory. What was allocated begins at a multiple of 512. */
  get pointer(): Pointer | null {
    return this.#hasBytes() ? (this.#address as Pointer) : null;
  }

  /** The kind of memory that the bytes lie in: what was really got. */
  get memoryType(): MemoryType {
    return memoryTypes[memoryTypeOf(this.#place)]!;
  }

  /** The GPU's CUDA ordinal; 0 for host memory, also after a fallback. */
  get memoryTypeId(): number {
    return deviceIdOf(this.#place);
  }

  /**
   * The buffer at an index, or `null` where there is none. There is at most one buffer, while a
   * `MemoryReference` has several.
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
   * where the memory was freed, detached or never got, or went when its manager was reset;
   * `INTERNAL` where CUDA fails, and `DEVICE_LOST` where it has failed for good.
   */
  write(source: ArrayBufferLike | ArrayBufferView, byteOffset = 0): void {
    const bytes = bytesOf("write", "source", source);
    const allocation = this.#liveAllocation("write");
    checkRange("write", allocation, byteOffset, bytes.byteLength);
    if (bytes.byteLength === 0) return;
    checkStatus(allocated_memory_write(allocation, byteOffset, bytes, bytes.byteLength, null));
  }

  /**
   * Fills the target with the bytes of memory of any type, from `byteOffset` on.
   *
   * @throws {MemoryError} `INVALID_ARG` where the memory has not that many, before a byte moves;
   * otherwise as {@link write} does.
   */
  read(target: ArrayBufferLike | ArrayBufferView, byteOffset = 0): void {
    const bytes = bytesOf("read", "target", target);
    const allocation = this.#liveAllocation("read");
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
   * @throws The reason of the signal, as soon as it is aborted. Which bytes have arrived is not defined.
   * @throws {MemoryError} as {@link write} does; also `INVALID_ARG` where the source is detached or
   * shrinks meanwhile, and `UNAVAILABLE` where the memory is freed meanwhile.
   *
   * @example
   * ```ts
   * await tensor.writeAsync(await Bun.file("weights.bin").bytes());
   * ```
   */
  async writeAsync(
    source: ArrayBufferLike | ArrayBufferView,
    byteOffset = 0,
    options?: TransferOptions,
  ): Promise<void> {
    await this.#transfer(transferRequestOf("writeAsync", source, options), byteOffset);
  }

  /**
   * Reads as {@link read} does, without blocking the event loop while a GPU works; see
   * {@link writeAsync}. What the target has before the promise is resolved is not defined.
   *
   * @throws The reason of the signal, as soon as it is aborted.
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
    target: ArrayBufferLike | ArrayBufferView,
    byteOffset = 0,
    options?: TransferOptions,
  ): Promise<void> {
    await this.#transfer(transferRequestOf("readAsync", target, options), byteOffset);
  }

  async #transfer(request: TransferRequest, byteOffset: number): Promise<void> {
    const allocation = this.#liveAllocation(request.operation);
    await transferBytes(request, allocation, byteOffset, this.#uses());
  }

  /**
   * Writes all that a source has, from `byteOffset` on, as the bytes come: they are never all in JS
   * memory. Nothing is read ahead, so that a source is as fast as the memory takes its bytes.
   *
   * Free the memory whenever you like: the next bytes find it gone, and the promise is rejected.
   *
   * @returns How many bytes were written.
   * @throws {MemoryError} `INVALID_ARG` for a source that is none, or that somebody reads or has read,
   * for a chunk that is no bytes, and for options that are not what they have to be; `OUT_OF_RANGE`
   * where the source has more than fit, of which nothing is written beyond the memory; `UNAVAILABLE`
   * where the memory was freed, detached or never got, or went meanwhile; otherwise as
   * {@link writeAsync} does. Rejects with the source's error where the source fails, with the signal's
   * reason, and with what `onProgress` throws. Once it has begun to read, each of these cancels the
   * source. What the memory has then is not defined.
   *
   * @example
   * ```ts
   * Bun.serve({
   *   async fetch(request) {
   *     using tensor = new AllocatedMemory(Number(request.headers.get("content-length")), "GPU");
   *     const byteSize = await tensor.writeFrom(request, { signal: AbortSignal.timeout(30_000) });
   *     return new Response(`${byteSize} bytes`);
   *   },
   * });
   * ```
   */
  async writeFrom(source: MemorySource, options?: WriteFromOptions): Promise<number> {
    const request = sourceRequestOf(source, options);
    const { byteOffset, streamState } = request;
    const allocation = this.#liveAllocation("writeFrom");
    checkRange("writeFrom", allocation, byteOffset, 0);
    const room = allocation[at.byte_size]! - byteOffset;
    return await writeSource(request, room, (bytes, offset) =>
      this.#transfer(
        { operation: "writeFrom", bytes, streamState, signal: undefined },
        byteOffset + offset,
      ),
    );
  }

  /**
   * A stream of the memory's bytes, the body of a response for example. They are read as somebody
   * wants them, chunk by chunk, and never all in JS memory; a reader may bring its own buffers (it is a
   * byte stream).
   *
   * The memory must stay until the stream has ended: once it is freed, or has gone by a reset, the
   * stream fails with `UNAVAILABLE`.
   *
   * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be, and where the
   * memory has not that many bytes; `UNAVAILABLE` where it was freed, detached or never got.
   *
   * @example
   * ```ts
   * const answer = new Response(tensor.readable({ byteSize: 4096 }));
   * await Bun.write("tensor.bin", answer);
   * ```
   */
  readable(options?: ReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>> {
    const request = readableRequestOf(options);
    const { byteOffset } = request;
    const allocation = this.#liveAllocation("readable");
    const byteSize = request.byteSize ?? Math.max(0, allocation[at.byte_size]! - byteOffset);
    checkRange("readable", allocation, byteOffset, byteSize);
    return newReadable(request, byteSize, (bytes, offset) =>
      this.#transfer(
        { operation: "readable", bytes, streamState: null, signal: undefined },
        byteOffset + offset,
      ),
    );
  }

  /**
   * Sets every byte of memory of any type, before the call returns. After Triton's `SetMemory`.
   *
   * @param byte From 0 to 255.
   * @throws {MemoryError} `INVALID_ARG` for what is no byte; otherwise as {@link write} does.
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
    const allocation = this.#liveAllocation("fill");
    if (this.#address !== 0) checkStatus(allocated_memory_fill(allocation, byte));
  }

  /**
   * A view of host memory itself, without a copy: what is written to it is in the memory. It is
   * always the same view. After {@link free}, and after `PinnedMemoryManager.reset` in this thread,
   * its length is 0, as soon as the runtime does not work on it any more. As long as the view is
   * held the memory is not garbage collected.
   *
   * The memory is never given to anybody else while something in the process still has its bytes:
   * a view that another thread's reset has left, or a buffer to which these were transferred. It is
   * set aside until that is gone. Code that reads the bytes behind the runtime's back (an addon with
   * threads of its own, a library called by bun:ffi) needs {@link holdUntil}.
   *
   * The first use costs some microseconds, and about 200 for 16 MiB, because the garbage collector
   * takes the memory for memory of its own and runs more often; every other use costs nothing.
   *
   * @throws {MemoryError} `UNSUPPORTED` for a GPU's memory, which the host cannot look at, and for
   * more than 4 GiB; `UNAVAILABLE` where the memory was freed, detached or never got, or went when
   * its manager was reset, by whatever thread.
   *
   * @example
   * ```ts
   * using staging = new AllocatedMemory(1 << 20, "CPU_PINNED");
   * staging.bytes.set(chunk, offset);
   * copyBuffer(tensor, staging);
   * ```
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes();
  }

  #bytes(): Uint8Array<ArrayBuffer> {
    const extras = this.#extras;
    if (extras !== null && extras.resetCount === hostResetCount[0]) return extras.bytes!;
    return this.#newView();
  }

  #newView(): Uint8Array<ArrayBuffer> {
    this.#checkPresent("bytes");
    checkViewable(memoryTypeOf(this.#place), deviceIdOf(this.#place), this.#byteSize);
    if (this.#address === 0) return new Uint8Array(0);
    const extras = (this.#extras ??= new MemoryExtras());
    if (extras.parent === null) return extras.newView(this.#allocation(), this.#uses());
    const whole = MutableMemory.#wholeOf(this);
    if (whole.#byteSize <= arrayBufferByteSizeMax) {
      return extras.viewOfPart(whole.#bytes(), this.#byteSize);
    }
    return extras.ownViewOfPart(
      this.#allocation(),
      this.#uses(),
      (whole.#extras ??= new MemoryExtras()),
    );
  }

  /**
   * Keeps the memory in use until a promise settles, whoever frees it or resets its manager meanwhile:
   * for code that works on {@link bytes} or {@link pointer} without the runtime's knowledge.
   *
   * @returns What the promise resolves to.
   * @throws {MemoryError} `INVALID_ARG` for what is no promise; `UNAVAILABLE` where the memory was
   * freed, detached or never got. Rejects as the promise does.
   *
   * @example
   * ```ts
   * const addon = require("./hash.node"); // which works in a thread of its own
   *
   * function hash(chunk: Uint8Array): Promise<string> {
   *   using memory = new AllocatedMemory(chunk.byteLength, "CPU_PINNED");
   *   memory.bytes.set(chunk);
   *   return memory.holdUntil(addon.hash(memory.bytes)); // freed here, and gone when that is done
   * }
   * ```
   */
  async holdUntil<Result>(promise: PromiseLike<Result>): Promise<Awaited<Result>> {
    if (typeof (promise as { then?: unknown } | null)?.then !== "function") {
      throw invalidArgument("holdUntil", "promise", "a promise", promise);
    }
    const allocation = this.#liveAllocation("holdUntil");
    const hold = this.#address === 0 ? 0 : memory_hold_begin(allocation);
    checkStatus(hold);
    const uses = this.#uses();
    uses.acquire();
    try {
      return await promise;
    } finally {
      if (hold > 0) memory_hold_end(hold);
      uses.release();
    }
  }

  /**
   * A part of the memory, which shares its bytes, as a typed array's `subarray` does: negative
   * indices count from the end. The memory is not garbage collected as long as a part of it is held.
   * Once it is freed, all that its parts are asked for is `UNAVAILABLE`. To free or dispose of a part
   * ends the use of the part alone.
   *
   * @param begin The index of the part's first byte.
   * @param end The index after its last byte. Default: the end of the memory.
   * @throws {MemoryError} `INVALID_ARG` for indices that are not inside the memory; `UNAVAILABLE`
   * where the memory was freed, detached or never got.
   *
   * @example
   * ```ts
   * using batch = new AllocatedMemory(8 * 4096, "GPU");
   * batch.subarray(4096, 8192).write(new Float32Array(1024));
   * ```
   */
  subarray(begin = 0, end?: number): MutableMemory {
    this.#checkPresent("subarray");
    const { first, byteSize } = checkPart("subarray", this.#byteSize, begin, end);
    const part = new MutableMemory(unset);
    part.#place = this.#place;
    part.#extras = new MemoryExtras();
    part.#extras.parent = this;
    if (byteSize === 0) return part;
    part.#address = this.#address + first;
    part.#byteSize = byteSize;
    part.#origin = this.#origin;
    part.#extras.blockOffset = first + (this.#extras === null ? 0 : this.#extras.blockOffset);
    return part;
  }

  /**
   * Ends the use of the memory. An {@link AllocatedMemory} goes back to where it came from; of memory
   * that somebody else owns nothing is freed, and its `release` is called. A second call does nothing,
   * and neither does one after the manager was reset.
   *
   * While a transfer is under way the memory stays until that is over, which is soon (its promise may
   * be rejected), or with a stream when the transfer is done. The memory also stays while Bun reads a
   * file into {@link bytes}, say, or compresses them, and until the promise of a {@link holdUntil}
   * settles.
   *
   * @param streams A stream whose queued work may still use the memory, or several: it goes back, or is
   * released, when the work of all of them is done, and none of them is made to wait for another. The
   * call does not wait. A later request for a stream that is the only one may have the memory at once.
   * An empty array is as none.
   * @throws {MemoryError} `INVALID_ARG` where the memory was freed already through its pointer, and
   * for what is no stream, or one that is disposed of; `UNSUPPORTED` where a stream is being
   * captured into a CUDA graph, and `INTERNAL` where CUDA cannot tell when a stream is done: then
   * nothing is freed. Also throws what `release` throws.
   *
   * @example
   * ```ts
   * copyBuffer(tensor, staging, { stream });
   * staging.free(stream);
   * ```
   */
  free(streams?: CudaStream | readonly CudaStream[]): void {
    const streamStates = streams === undefined ? null : streamStatesOf("free", streams);
    const extras = this.#extras;
    if (extras !== null && extras.isBorrowed) return this.#endUse(streamStates ?? []);
    if (this.#address === 0) return;
    if (streamStates !== null || extras !== null) return this.#freeInOrder(streamStates);
    const status = allocated_memory_free(this.#address, this.#place, this.#origin);
    // The memory is forgotten once it is freed, so that nothing is lost where a call fails.
    this.#address = 0;
    this.#byteSize = 0;
    this.#origin = absence.freed;
    leakGuard.release(this, this.id);
    if (status !== memoryStatus.MEMORY_OK) checkStatus(status);
  }

  /** Frees the memory after the uses that are under way, and after what the streams were given. */
  #freeInOrder(streamStates: readonly StreamState[] | null): void {
    const extras = this.#extras;
    extras?.detachView();
    if (extras?.uses?.isInUse) {
      extras.uses.freeAfterwards(this.#allocation(), streamStates ?? []);
      this.#forget(absence.freed);
      return;
    }
    const status =
      streamStates === null
        ? allocated_memory_free(this.#address, this.#place, this.#origin)
        : freeAllocation(
            this.#allocation(),
            streamStates.map(({ native }) => native),
          );
    const isGone = status >= memoryStatus.MEMORY_OK || status === memoryStatus.MEMORY_INVALID_ARG;
    if (isGone) this.#forget(absence.freed);
    checkStatus(status);
  }

  /** Ends the use of a part, or of what somebody else owns, who is told when nothing uses it. */
  #endUse(streamStates: readonly StreamState[]): void {
    if (this.#origin === absence.freed) return;
    const { borrowing } = this.#extras!;
    if (borrowing !== null) this.#endBorrowing(borrowing, streamStates);
    else this.#forget(absence.freed);
  }

  #endBorrowing(borrowing: Borrowing, streamStates: readonly StreamState[]): void {
    const extras = this.#extras!;
    const points = pointsOf(streamStates);
    extras.detachView();
    this.#forget(absence.freed);
    const { uses } = extras;
    if (!uses?.isInUse) borrowing.end(points);
    else uses.endAfterwards(() => borrowing.endAndLog(points), points.length === 0);
  }

  /** Takes memory of a pool or the heap away from this object, and returns what stands for it. */
  #detach(): number {
    this.#checkPresent("detach");
    let id = 0;
    if (this.#address !== 0) {
      if (this.#extras?.uses?.isInUse || this.#extras?.tryToDetachView() === false) {
        throw new MemoryError("UNAVAILABLE", "detach: something still uses the memory");
      }
      id = memory_detach(this.#allocation());
      if (id < memoryStatus.MEMORY_OK) throw nativeError(id);
    }
    this.#forget(absence.detached);
    return id;
  }

  /** Makes this an empty memory, of which there is nothing to free. */
  #forget(reason: number): void {
    this.#address = 0;
    this.#byteSize = 0;
    this.#origin = reason;
    const extras = this.#extras;
    if (extras === null || extras.watch === null) {
      leakGuard.release(this, this.id);
    } else {
      unwatchMemory(extras.watch);
      extras.watch = null;
    }
  }

  /** The same as {@link free}, for `using`. What fails is logged: it never hides another error. */
  [Symbol.dispose](): void {
    try {
      this.free();
    } catch (error) {
      log.error("unreleased", error instanceof MemoryError ? error.message : releaseFailed(error));
    }
  }
}
