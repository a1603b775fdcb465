import { MemoryError, type MemoryErrorCode } from "bun-cuda-memory";
import type { HeldMemory } from "../held-memory.ts";
import { checkBytes, type Content, Queue } from "../model.ts";
import type { Range } from "../range-set.ts";
import type { HeldStream, StormThread } from "../thread.ts";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";

interface Transfer {
  readonly held: HeldMemory;
  readonly range: Range;
  readonly stream: HeldStream | null;
  readonly how: string;
}

/** Draws a memory, a part of it, and for some a stream. */
function drawTransfer(thread: StormThread, name: string): Transfer | null {
  const { random } = thread;
  const drawn = drawMemory(thread);
  if (drawn === null) return null;
  const range = random.range(drawn.held.model.byteSize);
  const place = random.chance(0.4) ? thread.streams.draw(random, true) : -1;
  const stream = place < 0 ? null : thread.streams.at(place)!;
  const size = range.end - range.begin;
  const onStream = place < 0 ? "" : `, stream ${place}`;
  const how = `m${drawn.place}.${name}(${size} bytes, ${range.begin}${onStream})`;
  return { held: drawn.held, range, stream, how };
}

/** The queue of a transfer, which comes after what its stream was given. */
function queueOf({ stream }: Transfer): Queue {
  if (stream === null) return new Queue();
  const queue = new Queue([stream.queue, ...stream.transfers]);
  stream.transfers.add(queue);
  return queue;
}

/**
 * How a transfer may fail. A freed memory ends those without a stream; a reset ends all, also one of
 * the pinned memory through which bytes of a GPU pass.
 */
function codesOf(thread: StormThread, { held, stream }: Transfer): readonly MemoryErrorCode[] {
  const codes = stream === null ? thread.codesFor(held) : thread.cudaCodes;
  const mayEnd = held.isFreed || (held.isOnGpu && held.mayHaveSeenReset);
  return mayEnd ? [...codes, "UNAVAILABLE"] : codes;
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
      queue.fail();
      // It may be the error of what was queued on the stream before, of which nobody else is told.
      if (error instanceof MemoryError && error.code === "INTERNAL") transfer.stream?.queue.fail();
      if (error instanceof MemoryError) thread.checkError(codesOf(thread, transfer), [held], error);
      else throw error;
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
    const { held, range, stream, how } = transfer;
    const content = thread.newContent(range.end - range.begin);
    thread.begin(how);
    // How many transfers there are must follow from the seed.
    if (held.isLent) return thread.follow(Promise.resolve());
    const queue = queueOf(transfer);
    const options = stream === null ? undefined : { stream: stream.stream };
    const promise = held.memory.writeAsync(content.bytes, range.begin, options);
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
    const { held, range, stream, how } = transfer;
    const target = new Uint8Array(range.end - range.begin);
    thread.begin(how);
    const queue = queueOf(transfer);
    const options = stream === null ? undefined : { stream: stream.stream };
    const promise = held.memory.readAsync(target, range.begin, options);
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
