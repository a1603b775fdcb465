import { log } from "../logger.ts";
import { freeAllocation, type NativeAllocation } from "../native/allocation.ts";
import { pauseOfBackground } from "../native/event-loop.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { nativeMessage } from "../native/status.ts";
import type { StreamState } from "../streams/stream-state.ts";

/**
 * Counts what uses a memory at the moment: transfers under way, and whatever Bun still does through
 * a view that was taken away. A memory that is freed meanwhile goes when the last use ends.
 */
export class MemoryUses {
  /** The memory, which is not garbage collected as long as its uses are referred to. */
  readonly memory: object;
  #count = 0;
  #isCancelled = false;
  #end: (() => void) | null = null;

  constructor(memory: object) {
    this.memory = memory;
  }

  get isInUse(): boolean {
    return this.#count > 0;
  }

  /** Whether transfers under way are to fail, because the memory was freed without a stream. */
  get isCancelled(): boolean {
    return this.#isCancelled;
  }

  /** Begins a use, which lasts until {@link release}. */
  acquire(): void {
    this.#count++;
  }

  /** Ends a use. After the last one the memory ends, if that was put off until then. */
  release(): void {
    if (--this.#count > 0) return;
    this.#end?.();
    this.#end = null;
  }

  /**
   * Puts off freeing the memory, which is in use, until the last use ends. With streams, transfers
   * under way go on, and the memory is freed in the streams' order; otherwise they fail.
   */
  freeAfterwards(allocation: NativeAllocation, streamStates: readonly StreamState[]): void {
    for (const streamState of streamStates) streamState.acquire("free");
    const end = () => void freeAcquired(allocation, streamStates);
    this.endAfterwards(end, streamStates.length === 0);
  }

  /** Puts off the end of the memory until the last use ends; transfers under way may fail meanwhile. */
  endAfterwards(end: () => void, isCancelled: boolean): void {
    this.#isCancelled = isCancelled;
    this.#end = end;
  }
}

/**
 * Frees memory of this package's own after what the stream was given, which may have gone wrong: nobody
 * is to be told.
 */
export function freeInOrder(
  allocation: NativeAllocation,
  streamStates: readonly StreamState[],
): void {
  for (const streamState of streamStates) streamState.acquire("free");
  void freeAcquired(allocation, streamStates);
}

/** The longest pause before a memory is tried to be freed again, in milliseconds. */
const pauseMillisecondsMax = 100;

/**
 * Frees memory after what the streams were given, and releases the streams. Where CUDA refuses to mark
 * those points the memory lives on, and this tries again, since nobody else can any more.
 */
async function freeAcquired(
  allocation: NativeAllocation,
  streamStates: readonly StreamState[],
): Promise<void> {
  const streams = streamStates.map(({ native }) => native);
  for (let milliseconds = 1; ; milliseconds = Math.min(2 * milliseconds, pauseMillisecondsMax)) {
    const status = freeAllocation(allocation, streams);
    if (status >= memoryStatus.MEMORY_OK) break;
    if (milliseconds === 1) log.error("unreleased", nativeMessage());
    if (streams.length === 0 || status === memoryStatus.MEMORY_INVALID_ARG) break;
    await pauseOfBackground(milliseconds);
  }
  for (const streamState of streamStates) streamState.release();
}
