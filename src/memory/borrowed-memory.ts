import type { Pointer } from "bun:ffi";
import {
  checkByteSize,
  checkDeviceId,
  checkOptions,
  checkPointer,
  invalidArgument,
} from "../arguments.ts";
import { describeThrown } from "../describe.ts";
import { pointerAttributes } from "../devices/pointer-attributes.ts";
import { gpuCount } from "../devices/supported-gpus.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { type NativeAllocation, newAllocation } from "../native/allocation.ts";
import { isCudaLost } from "../native/cuda-error.ts";
import { pauseOfBackground } from "../native/event-loop.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { deviceIdOf, memoryTypeOf, placeOf } from "../native/memory-place.ts";
import { memoryAllocation as at, memoryStatus } from "../native/memory-symbols.ts";
import { StreamEvent } from "../native/stream.ts";
import { threadState } from "../native/thread-state.ts";
import type { StreamState } from "../streams/stream-state.ts";
import { waitUntil } from "../streams/wait.ts";
import { type MemoryType, memoryTypes, numberOfMemoryType } from "../native/memory-type.ts";

const operation = "new MutableMemory";

const { cudart_claim, memory_borrow, memory_hold_query } = memoryLibrary;

/** Memory that somebody else owns, for {@link MutableMemory}. */
export interface BorrowedMemory {
  /** The address of the first byte; `null` only where there are no bytes. */
  pointer: Pointer | null;
  /** The number of bytes, from 0. */
  byteSize: number;
  /** The kind of memory that the bytes lie in. */
  memoryType: MemoryType;
  /** The GPU's CUDA ordinal. Default 0; for host memory it is 0 whatever is given. */
  memoryTypeId?: number | undefined;
  /** Is called once, when the memory has been disposed of and nothing uses it any more. */
  release?: (() => void) | undefined;
}

/**
 * Reads what a program says of memory that somebody else owns.
 *
 * @throws {MemoryError} `INVALID_ARG` for what is not what it has to be, and for an address of another
 * kind of memory, as far as CUDA knows; `UNAVAILABLE` where there is no such GPU.
 */
export function checkBorrowed(source: BorrowedMemory): {
  allocation: NativeAllocation;
  release: (() => void) | null;
} {
  if (typeof source !== "object" || source === null) {
    throw invalidArgument(operation, "source", "an object with pointer, byteSize ...", source);
  }
  const {
    pointer,
    byteSize,
    memoryType,
    memoryTypeId = 0,
    release,
  } = checkOptions(operation, source, [
    "pointer",
    "byteSize",
    "memoryType",
    "memoryTypeId",
    "release",
  ]);
  checkByteSize(operation, "byteSize", byteSize);
  if (byteSize !== 0 || pointer !== null) checkPointer(operation, pointer);
  if (byteSize! > Number.MAX_SAFE_INTEGER - (pointer ?? 0)) {
    throw invalidArgument(operation, "byteSize", "bytes that an address space has", byteSize);
  }
  const typeNumber = numberOfMemoryType(memoryType);
  if (typeNumber < 0) {
    throw invalidArgument(operation, "memoryType", '"CPU", "CPU_PINNED" or "GPU"', memoryType);
  }
  checkDeviceId(operation, memoryTypeId);
  if (release !== undefined && typeof release !== "function") {
    throw invalidArgument(operation, "release", "a function", release);
  }
  const deviceId = memoryType === "GPU" ? memoryTypeId : 0;
  if (memoryType === "GPU" && deviceId >= gpuCount()) {
    throw new MemoryError("UNAVAILABLE", `${operation}: there is no GPU ${deviceId}`);
  }
  const allocation = newAllocation();
  allocation[at.place] = placeOf(typeNumber, deviceId);
  if (byteSize !== 0) {
    checkKind(pointer!, memoryType!, deviceId);
    allocation[at.address] = pointer!;
    allocation[at.byte_size] = byteSize!;
    allocation[at.origin] = memory_borrow();
  }
  return { allocation, release: release ?? null };
}

/**
 * The host would crash at a GPU's address, and a wrong GPU be named in all that is said.
 *
 * @throws {MemoryError} `INVALID_ARG` for an address that CUDA knows as another kind of memory.
 */
function checkKind(pointer: Pointer, memoryType: MemoryType, deviceId: number): void {
  // Where nothing has asked for a CUDA runtime, or CUDA is lost, nothing is known of any address.
  if (isCudaLost() || cudart_claim(null) === null) return;
  const { type, device } = pointerAttributes(pointer);
  if (type !== "device" || (memoryType === "GPU" && device === deviceId)) return;
  const wanted = memoryType === "GPU" ? `an address of GPU ${deviceId}` : "an address of the host";
  throw new MemoryError(
    "INVALID_ARG",
    `${operation}: pointer must be ${wanted}, got one of GPU ${device}`,
  );
}

/**
 * The points after all that the streams have been given so far.
 *
 * @throws {MemoryError} `INTERNAL` where CUDA refuses one; then there is none.
 */
export function pointsOf(streamStates: readonly StreamState[]): StreamEvent[] {
  const points: StreamEvent[] = [];
  try {
    for (const { native } of streamStates) points.push(new StreamEvent(native));
  } catch (error) {
    disposeOf(points);
    throw error;
  }
  return points;
}

function disposeOf(points: readonly StreamEvent[]): void {
  for (const point of points) point[Symbol.dispose]();
}

/** Watches for memories that were dropped without having been disposed of. */
const dropped = threadState(
  "droppedBorrowings",
  () => new FinalizationRegistry<Borrowing>((borrowing) => borrowing.endDropped()),
);

/** The longest time between two looks whether something still has the memory, in milliseconds. */
const pauseMillisecondsMax = 100;

/** What the owner of a memory is to be told, once, when its use ends. */
export class Borrowing {
  readonly #allocation: NativeAllocation;
  #release: (() => void) | null;

  /** @param memory The memory, which this does not refer to. */
  constructor(memory: object, allocation: NativeAllocation, release: (() => void) | null) {
    this.#allocation = allocation;
    this.#release = release;
    if (release !== null) dropped.register(memory, this, this);
  }

  /**
   * Ends the use: tells the owner as soon as nothing in the process has the bytes any more, and the
   * streams have come to the points that are given. That may be at once.
   */
  end(points: readonly StreamEvent[]): void {
    const release = this.#release;
    this.#release = null;
    dropped.unregister(this);
    if (release === null) disposeOf(points);
    else if (points.length === 0 && !this.#isHeld()) release();
    else void this.#releaseAfter(points, release);
  }

  /** Ends the use as {@link end} does. What fails is logged, since there is nobody to throw it to. */
  endAndLog(points: readonly StreamEvent[]): void {
    try {
      this.end(points);
    } catch (error) {
      log.error("unreleased", releaseFailed(error));
    }
  }

  /** Ends the use of a memory that the garbage collector has found. */
  endDropped(): void {
    const place = this.#allocation[at.place]!;
    const byteSize = this.#allocation[at.byte_size]!;
    const memoryType = memoryTypes[memoryTypeOf(place)]!;
    const memoryTypeId = deviceIdOf(place);
    log.warn(
      { event: "leak", byteSize, memoryType, memoryTypeId },
      `a MutableMemory of ${byteSize} bytes (${memoryType} ${memoryTypeId}) was never disposed of; ` +
        "it has been released now that it was garbage collected",
    );
    this.endAndLog([]);
  }

  /** Whether something has the bytes still: a buffer that they were transferred to. */
  #isHeld(): boolean {
    return memory_hold_query(this.#allocation) === memoryStatus.MEMORY_NOT_DONE;
  }

  async #releaseAfter(points: readonly StreamEvent[], release: () => void): Promise<void> {
    for (const point of points) await waitUntil(() => point.isOver());
    disposeOf(points);
    for (let milliseconds = 1; this.#isHeld(); milliseconds *= 2) {
      await pauseOfBackground(Math.min(milliseconds, pauseMillisecondsMax));
    }
    try {
      release();
    } catch (error) {
      log.error("unreleased", releaseFailed(error));
    }
  }
}

/** What is logged where the owner's function throws. */
export function releaseFailed(error: unknown): string {
  return `the release of a MutableMemory failed: ${describeThrown(error)}`;
}
