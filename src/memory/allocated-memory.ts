import { checkNotAborted } from "../abort-signal.ts";
import type { AllocationRequest } from "../accounts/memory-account.ts";
import { isSmallWholeNumber } from "../arguments.ts";
import { MemoryError } from "../memory-error.ts";
import { accountName } from "../native/account.ts";
import { type NativeAllocation, newAllocation } from "../native/allocation.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { deviceIdMax, placeOf } from "../native/memory-place.ts";
import {
  memoryAllocation as at,
  memoryStatus,
  memoryTypeNumber,
} from "../native/memory-symbols.ts";
import { type MemoryType, numberOfMemoryType } from "../native/memory-type.ts";
import { nativeError } from "../native/status.ts";
import {
  accountNameOfRequest,
  type AllocatedMemoryOptions,
  type AllocateOptions,
  checkAllocationArguments,
  renewAccount,
  requestOf,
  waitingRequestOf,
} from "./allocation-request.ts";
import { collectDropped } from "./collected-memory.ts";
import { checkHandle, type MemoryHandle } from "./memory-handle.ts";
import {
  absence,
  allocationOfOwn,
  detachMemory,
  inspectKey,
  MutableMemory,
  setMemory,
  textOf,
  unset,
} from "./mutable-memory.ts";
import { isWorthReporting, reportFallback, reportRefusal } from "./request-report.ts";
import { waitForMemory } from "./waiting-requests.ts";

const {
  allocated_memory_account,
  allocated_memory_alloc,
  allocated_memory_request,
  allocated_memory_request_on_stream,
  memory_attach,
} = memoryLibrary;

/** Where the native library puts the allocation that it has just made. */
const allocated = newAllocation();

const constructorName = "new AllocatedMemory";
const allocateName = "AllocatedMemory.allocate";

function makeRequest(
  byteSize: number,
  place: number,
  request: Readonly<AllocationRequest> | null,
): number {
  if (request === null) return allocated_memory_alloc(allocated, byteSize, place);
  const { stream, terms } = request;
  return stream === null
    ? allocated_memory_request(allocated, byteSize, place, terms)
    : allocated_memory_request_on_stream(allocated, byteSize, place, terms, stream);
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
  latest: Readonly<AllocationRequest> | null,
): number {
  if (!isWorthReporting(first)) return first;
  // What is called from here on may make requests itself.
  const request = latest === null ? null : { ...latest };
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

/** Makes a memory of what the native library has just given. */
function take(memory: MutableMemory, given: NativeAllocation): void {
  setMemory(memory, given[at.address]!, given[at.byte_size]!, given[at.place]!, given[at.origin]!);
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
export class AllocatedMemory extends MutableMemory {
  static {
    Object.defineProperty(AllocatedMemory.prototype, inspectKey, {
      value(this: unknown) {
        return textOf(this, "AllocatedMemory");
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
    super(unset);
    if (byteSize === 0) {
      setMemory(
        this,
        0,
        0,
        placeOf(wanted, memoryType === "GPU" ? memoryTypeId : 0),
        absence.empty,
      );
      return;
    }
    const place = placeOf(wanted, memoryTypeId);
    let status = makeRequest(byteSize, place, request);
    if (status !== memoryStatus.MEMORY_OK) {
      status = settleRequest(status, byteSize, place, request);
      if (status === memoryStatus.MEMORY_NOTHING_SERVES) {
        setMemory(this, 0, 0, memoryTypeNumber.MEMORY_CPU, absence.neverGot);
        return;
      }
    }
    setMemory(this, allocated[at.address]!, byteSize, allocated[at.place]!, allocated[at.origin]!);
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
        take(memory, allocation),
      );
      return memory;
    } catch (error) {
      const mayFall = own.fallback !== "none" && error instanceof MemoryError;
      if (signal?.aborted || !mayFall || error.code === "UNSUPPORTED") throw error;
      return new AllocatedMemory(byteSize, memoryType, memoryTypeId, own);
    }
  }

  /** The name of the account that the memory is charged to; `null` where there is none. */
  get account(): string | null {
    const allocation = allocationOfOwn(this);
    const key = allocation === null ? 0 : allocated_memory_account(allocation);
    return key === 0 ? null : accountName(key);
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
    const { totalByteSize: byteSize, memoryType, memoryTypeId } = this;
    const id = detachMemory(this);
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
      take(memory, allocated);
    }
    return memory;
  }
}
