import { MemoryError, type MemoryErrorCode, type MutableMemory } from "bun-cuda-memory";
import type { HeldMemory } from "../held-memory.ts";
import { checkBytes, type Content, Queue } from "../model.ts";
import type { Range } from "../range-set.ts";
import type { HeldStream, StormThread } from "../thread.ts";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";

export interface Transfer {
  readonly held: HeldMemory;
  readonly range: Range;
  /** The memory, or a part of it that has these bytes. */
  readonly memory: MutableMemory;
  /** Where in that they begin. */
  readonly byteOffset: number;
  readonly stream: HeldStream | null;
  readonly how: string;
}

/** Draws a memory, a part of it, and for some a stream. */
export function drawTransfer(thread: StormThread, name: string): Transfer | null {
  const { random } = thread;
  const drawn = drawMemory(thread);
  if (drawn === null) return null;
  const range = random.range(drawn.held.model.byteSize);
  const place = random.chance(0.4) ? thread.streams.draw(random, true) : -1;
  const stream = place < 0 ? null : thread.streams.at(place)!;
  const size = range.end - range.begin;
  const onStream = place < 0 ? "" : `, stream ${place}`;
  const isByPart = random.chance(0.2);
  const of = `m${drawn.place}${isByPart ? ".subarray" : ""}`;
  const how = `${of}.${name}(${size} bytes, ${range.begin}${onStream})`;
  const { held } = drawn;
  return isByPart
    ? { held, range, memory: held.memory.subarray(range.begin), byteOffset: 0, stream, how }
    : { held, range, memory: held.memory, byteOffset: range.begin, stream, how };
}

/** The queue of a transfer, which comes after what its stream was given. */
export function queueOf({ stream }: Transfer): Queue {
  if (stream === null) return new Queue();
  const queue = new Queue([stream.queue, ...stream.transfers]);
  stream.transfers.add(queue);
  return queue;
}

/**
 * How a transfer may fail. A freed memory ends those without a stream; a reset ends all, also one of
 * the pinned memory through which bytes of a GPU pass.
 */
export function codesOf(
  thread: StormThread,
  { held, stream }: Pick<Transfer, "held" | "stream">,
): readonly MemoryErrorCode[] {
  const codes = stream === null ? thread.codesFor(held) : thread.cudaCodes;
  const mayEnd = held.isFreed || (held.isOnGpu && held.mayHaveSeenReset);
  return mayEnd ? [...codes, "UNAVAILABLE"] : codes;
}

/** Notes that a transfer has failed, and checks that it may have. */
export function noteFailure(
  thread: StormThread,
  transfer: Pick<Transfer, "held" | "stream">,
  queue: Queue,
  error: unknown,
): void {
  queue.fail();
  // It may be the error of what was queued on the stream before, of which nobody else is told.
  if (error instanceof MemoryError && error.code === "INTERNAL") transfer.stream?.queue.fail();
  if (!(error instanceof MemoryError)) throw error;
  thread.checkError(codesOf(thread, transfer), [transfer.held], error);
}

/** Follows a transfer to its end, and notes in the model what has come of it. */
function follow(
  thread: StormThread,
  transfer: Transfer,
  queue: Queue,
  promise: Promise<void>,
  onSuccess: () => void,
): void {
  const { held } = transfer;
  held.transferCount++;
  const settled = promise.then(
    () => onSuccess(),
    (error: unknown) => {
      noteFailure(thread, transfer, queue, error);
    },
  );
  const finished = settled.finally(() => {
    held.transferCount--;
    queue.finish();
    transfer.stream?.transfers.delete(queue);
  });
  thread.follow(finished);
}

export const writeAsync: Operation = {
  name: "write-async",
  weight: 7,
  run: async (thread) => {
    await thread.roomForTransfer();
    const transfer = drawTransfer(thread, "writeAsync");
    if (transfer === null) return;
    const { held, range, memory, byteOffset, stream, how } = transfer;
    const content = thread.newContent(range.end - range.begin);
    thread.begin(how);
    // How many transfers there are must follow from the seed.
    if (held.isLent) return thread.follow(Promise.resolve());
    const queue = queueOf(transfer);
    const options = stream === null ? undefined : { stream: stream.stream };
    const promise = memory.writeAsync(content.bytes, byteOffset, options);
    thread.end("begun");
    held.model.write(range.begin, content, queue);
    follow(thread, transfer, queue, promise, () => {});
  },
};

export const readAsync: Operation = {
  name: "read-async",
  weight: 7,
  run: async (thread) => {
    await thread.roomForTransfer();
    const transfer = drawTransfer(thread, "readAsync");
    if (transfer === null) return;
    const { held, range, memory, byteOffset, stream, how } = transfer;
    const target = new Uint8Array(range.end - range.begin);
    thread.begin(how);
    const queue = queueOf(transfer);
    const options = stream === null ? undefined : { stream: stream.stream };
    const promise = memory.readAsync(target, byteOffset, options);
    thread.end("begun");
    const content: Content = held.model.read(range, queue);
    follow(thread, transfer, queue, promise, () => {
      if (queue.isInDoubt) return;
      checkBytes(`what ${how} of ${held.name} has read`, target, content);
    });
  },
};

/** Waits for transfers, the oldest first. */
export const settle: Operation = {
  name: "settle",
  weight: 3,
  run: async (thread) => {
    if (thread.transfers.length === 0) return;
    const count = thread.random.below(thread.transfers.length);
    thread.begin(`wait for all transfers but ${count}`);
    await thread.settle(count);
    thread.end("ok");
  },
};
