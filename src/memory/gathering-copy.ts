import { MemoryError } from "../memory-error.ts";
import { freeAllocation, type NativeAllocation, newAllocation } from "../native/allocation.ts";
import { addressOf } from "../native/host-memory.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryTypeOf } from "../native/memory-place.ts";
import {
  memoryAllocation as at,
  memoryStatus,
  memoryTypeNumber,
} from "../native/memory-symbols.ts";
import { checkStatus } from "../native/status.ts";
import type { NativeStream } from "../native/stream.ts";
import type { StreamState } from "../streams/stream-state.ts";
import type { ReferencedPiece } from "./memory-access.ts";
import { checkApart } from "./memory-range.ts";
import { freeInOrder } from "./memory-uses.ts";
import { allocationOf } from "./mutable-memory.ts";

const {
  allocated_memory_check,
  allocated_memory_copy,
  allocated_memory_write,
  pinned_memory_try_alloc,
} = memoryLibrary;

/**
 * Host memory up to this size is staged on its way to a GPU: to copy it once more takes less time than
 * a call of CUDA's.
 */
const stagedPieceByteSizeMax = 64 * 1024;

/** The most bytes that are staged for one call of CUDA's. */
const stagingByteSizeMax = 4 * 1024 * 1024;

/** What one piece has of the bytes that are copied. */
interface Segment {
  /** The memory, or the JS memory. */
  readonly source: object | Uint8Array;
  /** Of a memory; `null` for JS memory. */
  readonly allocation: NativeAllocation | null;
  /** Where in the source the bytes begin. */
  readonly sourceOffset: number;
  readonly targetOffset: number;
  readonly byteSize: number;
}

/** Where the bytes of a reference go. */
export interface GatheringTarget {
  readonly memory: object;
  readonly allocation: NativeAllocation;
  readonly byteOffset: number;
}

/**
 * Copies some bytes of a reference into one memory. What is small and lies on the host goes to a GPU in
 * one transfer with what comes before and after it, unless it has to be read in the order of a stream.
 *
 * @returns Whether something was queued on the stream.
 * @throws {MemoryError} as `copyBuffer` does.
 */
export function gather(
  target: GatheringTarget,
  pieces: readonly ReferencedPiece[],
  sourceOffset: number,
  byteSize: number,
  streamState: StreamState | null,
): boolean {
  const segments = segmentsOf(target, pieces, sourceOffset, byteSize);
  for (const segment of segments) checkSegment(target, segment);
  let isQueued = false;
  for (const run of isOnGpu(target.allocation)
    ? runsOf(segments, streamState !== null)
    : segments.map((each) => [each])) {
    isQueued = copyRun(target, run, streamState) || isQueued;
  }
  return isQueued;
}

function isOnGpu(allocation: NativeAllocation | null): boolean {
  return allocation !== null && memoryTypeOf(allocation[at.place]!) === memoryTypeNumber.MEMORY_GPU;
}

/**
 * @throws {MemoryError} `UNAVAILABLE` where a memory was freed, detached or reset since it was added;
 * `INVALID_ARG` where JS memory was detached or shrank.
 */
function segmentsOf(
  target: GatheringTarget,
  pieces: readonly ReferencedPiece[],
  sourceOffset: number,
  byteSize: number,
): Segment[] {
  const segments: Segment[] = [];
  const end = sourceOffset + byteSize;
  let pieceOffset = 0;
  for (const piece of pieces) {
    const allocation = allocationOf("copyBuffer", piece.source);
    checkPiece(piece, allocation);
    const first = Math.max(sourceOffset, pieceOffset);
    const last = Math.min(end, pieceOffset + piece.byteSize);
    if (first < last) {
      segments.push({
        source: piece.source,
        allocation,
        sourceOffset: first - pieceOffset,
        targetOffset: target.byteOffset + first - sourceOffset,
        byteSize: last - first,
      });
    }
    pieceOffset += piece.byteSize;
  }
  return segments;
}

function checkPiece(
  { source, byteSize }: ReferencedPiece,
  allocation: NativeAllocation | null,
): void {
  if (allocation !== null) {
    if (byteSize > 0) checkStatus(allocated_memory_check(allocation));
  } else if ((source as Uint8Array).byteLength < byteSize) {
    throw new MemoryError(
      "INVALID_ARG",
      "copyBuffer: a buffer of the reference is detached or shrank",
    );
  }
}

/** @throws {MemoryError} `INVALID_ARG` where the bytes overlap those that they go to. */
function checkSegment(target: GatheringTarget, segment: Segment): void {
  const { source, allocation, sourceOffset, targetOffset, byteSize } = segment;
  const sourceAddress =
    allocation === null ? addressOf(source as Uint8Array) : allocation[at.address]!;
  const distance = target.allocation[at.address]! + targetOffset - (sourceAddress + sourceOffset);
  checkApart("copyBuffer", distance, byteSize, [target.allocation]);
}

/**
 * Puts segments together that are copied to a GPU as one.
 *
 * @param isOrdered Whether a memory has its bytes only once a stream has come there. JS memory has them now.
 */
function* runsOf(segments: readonly Segment[], isOrdered: boolean): Generator<Segment[]> {
  let run: Segment[] = [];
  let runByteSize = 0;
  for (const segment of segments) {
    const isReadNow = segment.allocation === null || (!isOrdered && !isOnGpu(segment.allocation));
    const isStaged = segment.byteSize <= stagedPieceByteSizeMax && isReadNow;
    if (run.length > 0 && (!isStaged || runByteSize + segment.byteSize > stagingByteSizeMax)) {
      yield run;
      run = [];
      runByteSize = 0;
    }
    if (!isStaged) {
      yield [segment];
      continue;
    }
    run.push(segment);
    runByteSize += segment.byteSize;
  }
  if (run.length > 0) yield run;
}

function copyRun(
  target: GatheringTarget,
  run: readonly Segment[],
  streamState: StreamState | null,
): boolean {
  if (run.length > 1) {
    const staging = tryToStage(run);
    if (staging !== null) return copyStaged(target, run, staging, streamState);
  }
  let isQueued = false;
  for (const segment of run) isQueued = copySegment(target, segment, streamState) || isQueued;
  return isQueued;
}

// ---- By way of pinned memory

/** Copies segments into pinned memory, one after another; `null` where there is no room. */
function tryToStage(run: readonly Segment[]): NativeAllocation | null {
  const staging = newAllocation();
  const byteSize = run.reduce((sum, segment) => sum + segment.byteSize, 0);
  if (pinned_memory_try_alloc(staging, byteSize) !== memoryStatus.MEMORY_OK) return null;
  try {
    const start = run[0]!.targetOffset;
    for (const segment of run) {
      checkStatus(move(staging, segment.targetOffset - start, segment, null));
    }
    return staging;
  } catch (error) {
    freeAllocation(staging);
    throw error;
  }
}

function copyStaged(
  target: GatheringTarget,
  run: readonly Segment[],
  staging: NativeAllocation,
  streamState: StreamState | null,
): boolean {
  const { targetOffset } = run[0]!;
  const byteSize = staging[at.byte_size]!;
  let isQueued = false;
  try {
    const copy = (stream: NativeStream | null) =>
      allocated_memory_copy(target.allocation, targetOffset, staging, 0, byteSize, stream);
    isQueued = callOrQueue(copy, byteSize, [target.memory], streamState);
    return isQueued;
  } finally {
    if (isQueued) freeInOrder(staging, streamState === null ? [] : [streamState]);
    else freeAllocation(staging);
  }
}

// ---- Each by itself

function copySegment(
  target: GatheringTarget,
  segment: Segment,
  streamState: StreamState | null,
): boolean {
  return callOrQueue(
    (stream) => move(target.allocation, segment.targetOffset, segment, stream),
    segment.byteSize,
    [target.memory, segment.source],
    streamState,
  );
}

/** Copies a segment natively, and returns a `memory_status`. */
function move(
  target: NativeAllocation,
  targetOffset: number,
  { source, allocation, sourceOffset, byteSize }: Segment,
  stream: NativeStream | null,
): number {
  if (allocation !== null) {
    return allocated_memory_copy(target, targetOffset, allocation, sourceOffset, byteSize, stream);
  }
  const bytes = (source as Uint8Array).subarray(sourceOffset, sourceOffset + byteSize);
  return allocated_memory_write(target, targetOffset, bytes, byteSize, stream);
}

/**
 * Makes a copy at once, or has it queued; returns whether it was queued.
 *
 * @param copy Copies natively, and returns a `memory_status`.
 * @param memories Live until a queued copy is over.
 */
export function callOrQueue(
  copy: (stream: NativeStream | null) => number,
  byteSize: number,
  memories: readonly object[],
  streamState: StreamState | null,
): boolean {
  const status =
    streamState === null
      ? copy(null)
      : streamState.queue({ description: `copyBuffer of ${byteSize} bytes`, memories }, copy);
  checkStatus(status);
  return status === memoryStatus.MEMORY_QUEUED;
}
