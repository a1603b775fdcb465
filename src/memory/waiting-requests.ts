// Requests of this thread that wait for memory.

import type { AllocationRequest } from "../accounts/memory-account.ts";
import { pause } from "../native/event-loop.ts";
import { freeAllocation, type NativeAllocation, newAllocation } from "../native/allocation.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { owner } from "../native/owner.ts";
import { accountKeyOfTerms } from "../native/request-terms.ts";
import { checkStackRoom } from "../native/stack-room.ts";
import { nativeError } from "../native/status.ts";
import { renewAccount } from "./allocation-request.ts";
import { collectDropped } from "./collected-memory.ts";
import { listenForServed, tellServed } from "../native/served-requests.ts";

const { memory_wait_begin, memory_wait_end, memory_wait_poll, memory_wait_take } = memoryLibrary;

/** Is called with what a request was served with, or with the error. The allocation is used again. */
type Settle = (error: unknown, allocation: NativeAllocation | null) => void;

const requests = new Map<number, Settle>();
/** Whether {@link keepLooking} is under way. */
let isLooking = false;
const taken = newAllocation();

/**
 * What nobody frees is looked for: memory whose stream is done soon, that of threads that have ended
 * seldom. Who waits for what others free is told at once.
 */
const shortestMilliseconds = 1;
const longestOfStreams = 2;
const longest = 16;

/**
 * Waits until the request is served, and calls `take` with the allocation at once.
 *
 * @throws {MemoryError} Rejects where the request could never be served, and with the signal's reason.
 */
export async function waitForMemory(
  operation: string,
  byteSize: number,
  place: number,
  request: AllocationRequest,
  signal: AbortSignal | undefined,
  take: (allocation: NativeAllocation) => void,
): Promise<void> {
  checkStackRoom();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let id = beginToWait(byteSize, place, request);
  while (id === memoryStatus.MEMORY_ACCOUNT_ENDED) {
    renewAccount(operation, request);
    id = beginToWait(byteSize, place, request);
  }
  if (id < memoryStatus.MEMORY_OK) throw nativeError(id);
  // What stands for a request may stand for another one once it is settled.
  let isSettled = false;
  const settle: Settle = (error, allocation) => {
    isSettled = true;
    if (allocation === null) {
      reject(error);
    } else if (signal?.aborted) {
      // Whoever was told of the abort before this made room for the request.
      freeAllocation(allocation);
      reject(signal.reason);
    } else {
      take(allocation);
      resolve();
    }
    stopListening(signal, giveUp);
  };
  const giveUp = () => {
    if (isSettled) return;
    stopWaiting(id);
    settle(signal!.reason, null);
  };
  requests.set(id, settle);
  if (settleIfOver(id, settle)) return promise;
  signal?.addEventListener("abort", giveUp, { once: true });
  listenForServed(settleServed);
  if (!isLooking) {
    lookForMemory(); // the collector may find what makes waiting needless
    void keepLooking();
  }
  return promise;
}

/** A signal of another library may do anything. */
function stopListening(signal: AbortSignal | undefined, listener: () => void): void {
  try {
    signal?.removeEventListener("abort", listener);
  } catch {}
}

/** Returns what stands for the request, which is a pointer, or a `memory_status`. */
function beginToWait(byteSize: number, place: number, request: AllocationRequest): number {
  return memory_wait_begin(
    taken,
    byteSize,
    place,
    accountKeyOfTerms(request.terms),
    request.stream,
  );
}

/** Gives up a request that has not been settled. */
function stopWaiting(id: number): void {
  requests.delete(id);
  if (memory_wait_end(id) === memoryStatus.MEMORY_OK_SERVED) tellServed();
}

function settleIfOver(id: number, settle: Settle): boolean {
  const status = memory_wait_take(id, taken);
  if (status === memoryStatus.MEMORY_NOT_DONE) return false;
  requests.delete(id);
  if (status === memoryStatus.MEMORY_OK) settle(null, taken);
  else settle(nativeError(status), null);
  return true;
}

function settleServed(): void {
  for (const [id, settle] of requests) settleIfOver(id, settle);
}

/** Returns how long it may take until there is something to be found, in milliseconds. */
function lookForMemory(): number {
  let status = memory_wait_poll(owner);
  if (status === memoryStatus.MEMORY_COLLECT_FIRST) {
    collectDropped();
    status = memory_wait_poll(owner);
  }
  // Who is told first is this thread, which settles its own therewith.
  if (status === memoryStatus.MEMORY_OK_SERVED) tellServed();
  else settleServed();
  return status === memoryStatus.MEMORY_NOT_DONE ? longestOfStreams : longest;
}

async function keepLooking(): Promise<void> {
  isLooking = true;
  try {
    for (let milliseconds = shortestMilliseconds; requests.size > 0;) {
      const countBefore = requests.size;
      await pause(milliseconds);
      const longestNow = lookForMemory();
      const isServed = requests.size < countBefore;
      milliseconds = isServed ? shortestMilliseconds : Math.min(2 * milliseconds, longestNow);
    }
  } finally {
    isLooking = false;
  }
}
