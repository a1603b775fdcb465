import { channel } from "node:diagnostics_channel";

/**
 * What a {@link MemoryMessage} is about:
 *
 * - `"fallback"`: a request got another kind of memory than it was for
 * - `"refused"`: a request got none
 * - `"leak"`: memory or a stream was dropped, and found by the garbage collector
 * - `"lost"`: CUDA has failed for good, once in a process
 * - `"unreleased"`: something could not be given back, and is kept
 * - `"stream"`: work failed on a stream that was disposed of, which nobody can be told of any more
 * - `"pool"`: a pool was reserved, or could not be
 * - `"device"`: a GPU, or one's access to another, cannot be had
 * - `"library"`: which CUDA runtime and which native library is used, or why it is not
 */
export type MemoryEvent = MemoryMessage["event"];

/**
 * Why a request was not served by the kind of memory that it began with: its pool is full, or smaller
 * than the request, or not there; CUDA has failed for good; the system refuses memory for the pool's
 * tables; or the account has no room.
 */
export type MemoryCause =
  "full" | "too large" | "no pool" | "lost" | "no tables" | "over the limit";

interface MessageFields {
  /** As for a `Logger`. */
  readonly level: "info" | "warn" | "error";
  /** The text that is logged; it begins with `bun-cuda-memory: `. */
  readonly message: string;
  /** Bytes that were asked for, or of what the message is about. */
  readonly byteSize?: number;
  /** The kind of memory, of a request as it was asked for. */
  readonly memoryType?: "CPU" | "CPU_PINNED" | "GPU";
  /** The GPU's CUDA ordinal, of a request as it was asked for. */
  readonly memoryTypeId?: number;
  /** The name of the account, where there is one. */
  readonly account?: string;
  /** Of a request: why the kind of memory that it was for did not serve. */
  readonly cause?: MemoryCause;
}

/**
 * Says of a request that it was not served as it was meant. A request is one message, also where the
 * log has a line for each kind of memory that did not serve.
 */
export interface RequestMessage extends MessageFields {
  /** Whether other memory served. */
  readonly event: "fallback" | "refused";
  /** Bytes that were asked for. */
  readonly byteSize: number;
  /** The kind of memory that was asked for. */
  readonly memoryType: "CPU" | "CPU_PINNED" | "GPU";
  /** The GPU's CUDA ordinal, as it was asked for. */
  readonly memoryTypeId: number;
  /** Why the kind of memory that it was for did not serve. */
  readonly cause: MemoryCause;
}

/** Says that memory was dropped without having been freed, or, without `byteSize`, a stream. */
export interface LeakMessage extends MessageFields {
  /** That it was dropped. */
  readonly event: "leak";
  /** The kind of memory; a stream's is `"GPU"`. */
  readonly memoryType: "CPU" | "CPU_PINNED" | "GPU";
  /** The GPU's CUDA ordinal; 0 for host memory. */
  readonly memoryTypeId: number;
}

/** Says how the memory layer fares. */
export interface StateMessage extends MessageFields {
  /** What the message is about, as {@link MemoryEvent} has it. */
  readonly event: "lost" | "unreleased" | "stream" | "pool" | "device" | "library";
}

/**
 * What is published on the channel `"bun-cuda-memory"` of `node:diagnostics_channel`, in the thread
 * that has it to say: all that is logged, and of fallbacks also those that are not logged because the
 * process has been warned of their kind. Without subscribers it costs nothing. What a subscriber makes
 * this package say in turn is logged, but not published.
 *
 * @example
 * ```ts
 * import { subscribe } from "node:diagnostics_channel";
 * import type { MemoryMessage } from "bun-cuda-memory";
 *
 * subscribe("bun-cuda-memory", (published) => {
 *   const { event, memoryTypeId, cause } = published as MemoryMessage;
 *   if (event === "fallback") console.log(`GPU ${memoryTypeId} did not serve: ${cause}`);
 * });
 * ```
 */
export type MemoryMessage = RequestMessage | LeakMessage | StateMessage;

const memoryChannel = channel("bun-cuda-memory");

/** Whether subscribers are being called, who may make this package say more, and so on forever. */
let isPublishing = false;

/** Whether what is published now is read by somebody: messages are made for nobody else. */
export function hasSubscribers(): boolean {
  return memoryChannel.hasSubscribers && !isPublishing;
}

/**
 * Publishes a message to all subscribers. Never throws: what a subscriber throws is an uncaught
 * exception of its own, as `node:diagnostics_channel` has it.
 */
export function publish(message: MemoryMessage): void {
  isPublishing = true;
  try {
    memoryChannel.publish(message);
  } catch {
    // Only where the stack has no room for the call is there something to catch.
  } finally {
    isPublishing = false;
  }
}
