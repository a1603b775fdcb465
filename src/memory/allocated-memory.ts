import type { Pointer } from "bun:ffi";
import { checkNotAborted } from "../abort-signal.ts";
import { invalidArgument, isSmallWholeNumber, isWholeNumber } from "../arguments.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { accountName } from "../native/account.ts";
import { freeAllocation, type NativeAllocation, newAllocation } from "../native/allocation.ts";
import { memoryLibrary } from "../native/memory-library.ts";
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
  type AllocatedMemoryOptions,
  type AllocateOptions,
  type AllocationRequest,
  checkAllocationArguments,
  accountNameOfRequest,
  renewAccount,
  requestOf,
  waitingRequestOf,
} from "./allocation-request.ts";
import { collectDropped, unwatchMemory, watchMemory } from "./collected-memory.ts";
import { checkViewable, hostResetCount } from "./host-view.ts";
import { bytesOf } from "./js-bytes.ts";
import { LeakGuard } from "./leak-guard.ts";
import { foreignAllocationOf, memoryKey } from "./memory-access.ts";
import type { MemoryBuffer } from "./memory-buffer.ts";
import { checkHandle, type MemoryHandle } from "./memory-handle.ts";
import { checkRange } from "./memory-range.ts";
import { transferBytes, type TransferOptions, transferRequestOf } from "./memory-transfer.ts";
import { isWorthReporting, reportFallback, reportRefusal } from "./request-report.ts";
import { type MemoryType, memoryTypes, numberOfMemoryType } from "../native/memory-type.ts";
import { MemoryExtras } from "./memory-extras.ts";
import { waitForMemory } from "./waiting-requests.ts";
import { deviceIdMax, deviceIdOf, memoryTypeOf, placeOf } from "../native/memory-place.ts";

const {
  allocated_memory_account,
  allocated_memory_alloc,
  allocated_memory_request,
  allocated_memory_fill,
  allocated_memory_free,
  allocated_memory_write,
  allocated_memory_read,
  memory_attach,
  memory_detach,
  memory_hold_begin,
  memory_hold_end,
} = memoryLibrary;

/** Where the native library puts the allocation that it has just made. */
const allocated = newAllocation();

/** Why a memory has no address. */
const absence = {
  /** 0 bytes were asked for, which every operation may be asked to work on. */
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

/** Reads the private allocation of a memory, or null for any other object. The class sets it. */
let readAllocation: (operation: string, object: object) => NativeAllocation | null;

/** Has the collector watch a memory that lives longer than the job that made it. */
let promote: (memory: AllocatedMemory) => void;

/**
 * The allocation of a memory, for this package's own functions; `null` for any other value. It does
 * not go through the public properties, which a subclass may override.
 *
 * @throws {MemoryError} `UNAVAILABLE` where the memory was freed, detached or never got.
 */
export function allocationOf(operation: string, memory: unknown): NativeAllocation | null {
  if (typeof memory !== "object" || memory === null) return null;
  return readAllocation(operation, memory) ?? foreignAllocationOf(operation, memory);
}

const leakGuard = new LeakGuard<AllocatedMemory>((memory) => promote(memory));

const constructorName = "new AllocatedMemory";
const allocateName = "AllocatedMemory.allocate";

function makeRequest(byteSize: number, place: number, request: AllocationRequest | null): number {
  if (request === null) return allocated_memory_alloc(allocated, byteSize, place);
  const { accountKey, fallback, stream } = request;
  return allocated_memory_request(allocated, byteSize, place, accountKey, fallback, stream);
}

/**
 * Sees to a request that was not simply served: has the collector look for memory and asks once more,
 * and logs what there is to say. Returns the `memory_status` of it all.
 *
 * @throws {MemoryError} As the constructor does.
 */
function settleRequest(
  first: number,
  byteSize: number,
  place: number,
  request: AllocationRequest | null,
): number {
  if (!isWorthReporting(first)) return first;
  let status = first;
  if (status === memoryStatus.MEMORY_ACCOUNT_ENDED) {
    renewAccount(constructorName, request!);
    status = makeRequest(byteSize, place, request);
  }
  if (status === memoryStatus.MEMORY_COLLECT_FIRST) {
    collectDropped();
    status = makeRequest(byteSize, place, request);
  }
  if (status < memoryStatus.MEMORY_OK) throw nativeError(status);
  if (status === memoryStatus.MEMORY_ACCOUNT_ENDED) {
    return settleRequest(status, byteSize, place, request); // forgotten again, which is rare
  }
  if (status === memoryStatus.MEMORY_NOTHING_SERVES) {
    reportRefusal(byteSize, place, accountNameOfRequest(request));
  } else if (status !== memoryStatus.MEMORY_OK) {
    const got = allocated.slice(); // whoever reads the report may make requests himself
    reportFallback(status, byteSize, place, accountNameOfRequest(request));
    allocated.set(got);
  }
  return status;
}

/**
 * Memory for a tensor: CUDA memory where a GPU was asked for and its pool can serve, else pinned
 * system memory, else non-pinned system memory. What was really got is in {@link memoryType}. The
 * first fallback of each kind in a process is warned about, for each GPU and cause. After Triton's
 * `AllocatedMemory`.
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
  /** Tells this memory from all others of the thread. */
  readonly id = leakGuard.newTicket();
  /** A memory cannot be posted as it is, but its {@link detach} gives what can be. */
  readonly cannotBeCloned = notCloneable;

  /** The address; 0 where there is no memory, or no longer. */
  #address = 0;
  #byteSize = 0;
  /** The kind of memory and the GPU, as the native library has them in one number. */
  #place = memoryTypeNumber.MEMORY_CPU as number;
  /** Where there is no address: why, as {@link absence} has it. */
  #origin: number = absence.empty;
  /** Made when there is something, which most memories never have. */
  #extras: MemoryExtras | null = null;

  static {
    readAllocation = (operation, object) =>
      #address in object ? object.#liveAllocation(operation) : null;
    promote = (memory) => memory.#promote();
    Object.defineProperties(AllocatedMemory.prototype, {
      [memoryKey]: {
        value(this: object, operation: string) {
          return readAllocation(operation, this);
        },
      },
      [Symbol.for("nodejs.util.inspect.custom")]: {
        value(this: unknown) {
          return typeof this === "object" && this !== null && #address in this
            ? this.#text()
            : "AllocatedMemory {}";
        },
      },
    });
  }

  /**
   * @param byteSize Bytes, from 0, which allocates nothing.
   * @param memoryType `"GPU"` begins at CUDA memory, `"CPU_PINNED"` and `"CPU"` at pinned memory.
   * @param memoryTypeId The GPU's CUDA ordinal; not looked at for host memory.
   * @param options Whom it is for, how far the request may fall, and for use with streams.
   * @throws {MemoryError} `INVALID_ARG` for arguments that are not what they have to be;
   * `UNSUPPORTED` where the stream is being captured into a CUDA graph; `OUT_OF_MEMORY` over the
   * account's limit. Where the request may not fall as far as it would have to: `OUT_OF_MEMORY`,
   * `UNAVAILABLE` without a pool, `DEVICE_LOST`. With the fallback `"system"` it does not throw for
   * lack of memory: a request that nothing can serve is an empty memory, and an error is logged.
   */
  constructor(
    byteSize: number,
    memoryType: MemoryType,
    memoryTypeId = 0,
    options?: AllocatedMemoryOptions,
  ) {
    const wanted = numberOfMemoryType(memoryType);
    if (!isSmallWholeNumber(byteSize) || wanted < 0 || !isSmallWholeNumber(memoryTypeId)) {
      checkAllocationArguments(constructorName, byteSize, memoryType, memoryTypeId);
      memoryTypeId = Math.min(memoryTypeId, deviceIdMax); // only here, since a minimum costs 3 ns
    }
    const request = options === undefined ? null : requestOf(constructorName, options);
    if (byteSize === 0) {
      this.#place = placeOf(wanted, memoryType === "GPU" ? memoryTypeId : 0);
      return;
    }
    const place = placeOf(wanted, memoryTypeId);
    let status = makeRequest(byteSize, place, request);
    if (status !== memoryStatus.MEMORY_OK) {
      status = settleRequest(status, byteSize, place, request);
      if (status === memoryStatus.MEMORY_NOTHING_SERVES) {
        this.#origin = absence.neverGot;
        return;
      }
    }
    this.#address = allocated[at.address]!;
    this.#byteSize = byteSize;
    this.#place = allocated[at.place]!;
    this.#origin = allocated[at.origin]!;
    leakGuard.watch(this, this.id);
  }

  /**
   * Allocates memory as soon as there is room, without blocking the event loop: back-pressure instead of
   * a fallback. Requests for the same pool are served in the order in which they were made, by whatever
   * thread, however large they are; while one waits, a request that does not wait finds the pool full.
   * A request over its account's limit waits too, for what the account frees, and holds up no other's.
   *
   * @param byteSize Bytes, from 0, which allocates nothing.
   * @param memoryType `"GPU"` waits for CUDA memory, `"CPU_PINNED"` for pinned memory; `"CPU"` never
   * waits.
   * @param memoryTypeId The GPU's CUDA ordinal; not looked at for host memory.
   * @param options As for the constructor, but `fallback` is `"none"` by default: it is for requests
   * that could wait for ever, which fall back at once. A `signal` ends the wait.
   * @throws {MemoryError} Rejects with `INVALID_ARG` for arguments that are not what they have to be;
   * with `OUT_OF_MEMORY` where the pool, or the limit of the account, could never serve the request;
   * `UNAVAILABLE` where there is no pool, or it goes meanwhile; `DEVICE_LOST`. Aborted, it rejects with
   * the signal's reason.
   *
   * @example
   * ```ts
   * const signal = AbortSignal.timeout(100); // milliseconds
   * using tensor = await AllocatedMemory.allocate(4096, "GPU", 0, { signal });
   * ```
   */
  static async allocate(
    byteSize: number,
    memoryType: MemoryType,
    memoryTypeId = 0,
    options?: AllocateOptions,
  ): Promise<AllocatedMemory> {
    checkAllocationArguments(allocateName, byteSize, memoryType, memoryTypeId);
    const { request, options: own, signal } = waitingRequestOf(allocateName, options);
    checkNotAborted(signal);
    if (byteSize === 0 || memoryType === "CPU") {
      return new AllocatedMemory(byteSize, memoryType, memoryTypeId, own);
    }
    try {
      const memory = new AllocatedMemory(0, memoryType, memoryTypeId);
      const place = placeOf(numberOfMemoryType(memoryType), memory.memoryTypeId);
      await waitForMemory(allocateName, byteSize, place, request, signal, (allocation) =>
        memory.#take(allocation),
      );
      return memory;
    } catch (error) {
      const mayFall = own.fallback !== "none" && error instanceof MemoryError;
      if (!mayFall || error.code === "UNSUPPORTED") throw error;
      return new AllocatedMemory(byteSize, memoryType, memoryTypeId, own);
    }
  }

  /** Makes this the memory that the native library has just given. */
  #take(given: NativeAllocation): void {
    this.#address = given[at.address]!;
    this.#byteSize = given[at.byte_size]!;
    this.#place = given[at.place]!;
    this.#origin = given[at.origin]!;
    leakGuard.watch(this, this.id);
  }

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
    return allocation;
  }

  /** @throws {MemoryError} `UNAVAILABLE` where there is no memory to work on. */
  #checkPresent(operation: string): void {
    if (this.#address !== 0 || this.#origin === absence.empty) return;
    const text = absenceText[this.#origin]!;
    throw new MemoryError("UNAVAILABLE", `${operation}: the memory ${text}`);
  }

  /** @throws {MemoryError} `UNAVAILABLE` where there is no memory to work on. */
  #liveAllocation(operation: string): NativeAllocation {
    this.#checkPresent(operation);
    const allocation = this.#allocation();
    if (this.#address === 0) allocation[at.origin] = 0;
    return allocation;
  }

  #text(): string {
    const place = this.memoryType === "GPU" ? `GPU ${this.memoryTypeId}` : this.memoryType;
    const state = this.#address === 0 ? absenceText[this.#origin] : undefined;
    if (state !== undefined) return `AllocatedMemory { ${state} }`;
    if (this.#address === 0) return `AllocatedMemory { 0 bytes, ${place} }`;
    const address = `0x${this.#address.toString(16)}`;
    return `AllocatedMemory { ${this.#byteSize} bytes, ${place}, at ${address} }`;
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
    return memoryTypes[memoryTypeOf(this.#place)]!;
  }

  /** The GPU's CUDA ordinal; 0 for host memory, also after a fallback. */
  get memoryTypeId(): number {
    return deviceIdOf(this.#place);
  }

  /** The name of the account that the memory is charged to; `null` where there is none. */
  get account(): string | null {
    if (this.#address === 0) return null;
    const key = allocated_memory_account(this.#allocation());
    return key === 0 ? null : accountName(key);
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
    const request = transferRequestOf("writeAsync", source, options);
    const allocation = this.#liveAllocation("writeAsync");
    const extras = (this.#extras ??= new MemoryExtras());
    await transferBytes(request, allocation, byteOffset, extras.usesOf(this));
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
    const request = transferRequestOf("readAsync", target, options);
    const allocation = this.#liveAllocation("readAsync");
    const extras = (this.#extras ??= new MemoryExtras());
    await transferBytes(request, allocation, byteOffset, extras.usesOf(this));
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
    const extras = this.#extras;
    if (extras !== null && extras.resetCount === hostResetCount[0]) return extras.bytes!;
    return this.#newView();
  }

  #newView(): Uint8Array<ArrayBuffer> {
    this.#checkPresent("bytes");
    checkViewable(memoryTypeOf(this.#place), deviceIdOf(this.#place), this.#byteSize);
    if (this.#address === 0) return new Uint8Array(0);
    const extras = (this.#extras ??= new MemoryExtras());
    return extras.newView(this, this.#allocation());
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
    const hold = this.#address === 0 ? 0 : memory_hold_begin(allocation, 0);
    checkStatus(hold);
    const uses = (this.#extras ??= new MemoryExtras()).usesOf(this);
    uses.acquire();
    try {
      return await promise;
    } finally {
      if (hold > 0) memory_hold_end(hold);
      uses.release();
    }
  }

  /**
   * Takes the memory out of this thread's hands and returns what another thread can make a memory of,
   * by {@link AllocatedMemory.attach}. Here it is as if freed. Memory that is detached and never
   * attached stays, and is in its manager's statistics.
   *
   * What is queued on streams must be done before.
   *
   * @throws {MemoryError} `UNAVAILABLE` where the memory was freed, detached or never got, and where
   * something still uses it: a transfer, the runtime by way of {@link bytes}, a hold.
   *
   * @example
   * ```ts
   * const worker = new Worker("./worker.ts");
   * worker.postMessage(tensor.detach());
   * ```
   */
  detach(): MemoryHandle {
    this.#checkPresent("detach");
    const { totalByteSize: byteSize, memoryType, memoryTypeId } = this;
    let id = 0;
    if (this.#address !== 0) {
      if (this.#extras?.uses?.isInUse || this.#extras?.tryToDetachView() === false) {
        throw new MemoryError("UNAVAILABLE", "detach: something still uses the memory");
      }
      id = memory_detach(this.#allocation());
      if (id < memoryStatus.MEMORY_OK) throw nativeError(id);
    }
    this.#forget(absence.detached);
    return { id, byteSize, memoryType, memoryTypeId };
  }

  /**
   * Makes a memory of what {@link detach} returned, in whatever thread of the process. A handle can
   * be attached once.
   *
   * @throws {MemoryError} `INVALID_ARG` for what is no handle; `UNAVAILABLE` where its memory was
   * attached already, went when its manager was reset, or is another process's.
   *
   * @example
   * ```ts
   * // in the Worker
   * addEventListener("message", ({ data }: MessageEvent<MemoryHandle>) => {
   *   using memory = AllocatedMemory.attach(data);
   *   memory.fill(0);
   * });
   * ```
   */
  static attach(handle: MemoryHandle): AllocatedMemory {
    checkHandle("AllocatedMemory.attach", handle);
    const memory = new AllocatedMemory(0, handle.memoryType, handle.memoryTypeId);
    if (handle.id !== 0) {
      const status = memory_attach(allocated, handle.id);
      if (status < memoryStatus.MEMORY_OK) throw nativeError(status);
      memory.#take(allocated);
    }
    return memory;
  }

  /**
   * Gives the memory back to where it came from. A second call does nothing, and neither does one
   * after the manager was reset. While a transfer is under way the memory stays until that is over,
   * which is soon (its promise may be rejected), or with a stream when the transfer is done. The
   * memory also stays while Bun reads a file into {@link bytes}, say, or compresses them.
   *
   * @param streams A stream whose queued work may still use the memory, or several: it goes back when
   * the work of all of them is done, and none of them is made to wait for another. The call does not
   * wait. A later request for a stream that is the only one may have the memory at once. An empty array
   * is as none.
   * @throws {MemoryError} `INVALID_ARG` where the memory was freed already through its pointer, and
   * for what is no stream, or one that is disposed of; `UNSUPPORTED` where a stream is being
   * captured into a CUDA graph, and `INTERNAL` where CUDA cannot tell when a stream is done: then
   * nothing is freed.
   *
   * @example
   * ```ts
   * copyBuffer(tensor, staging, { stream });
   * staging.free(stream);
   * ```
   */
  free(streams?: CudaStream | readonly CudaStream[]): void {
    const streamStates = streams === undefined ? null : streamStatesOf("free", streams);
    if (this.#address === 0) return;
    if (streamStates !== null || this.#extras !== null) return this.#freeInOrder(streamStates);
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
      log.error("unreleased", (error as Error).message);
    }
  }
}
