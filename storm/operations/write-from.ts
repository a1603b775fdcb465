import { MemoryError } from "bun-cuda-memory";
import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import { StormFailure } from "../failure.ts";
import type { HeldMemory } from "../held-memory.ts";
import { type Content, Queue } from "../model.ts";
import type { Range } from "../range-set.ts";
import type { HeldStream, StormThread } from "../thread.ts";
import { DrawnAbort, leaveUnderWay } from "./aborted.ts";
import { ByteSource, failedOnPurpose } from "./byte-source.ts";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";
import { noteFailure } from "./transfer.ts";

// Streams of bytes into memory.

interface Writing {
  readonly held: HeldMemory;
  readonly range: Range;
  readonly stream: HeldStream | null;
  readonly source: ByteSource;
  readonly content: Content;
  readonly how: string;
  /** How many bytes were said to be in the memory. */
  progress: number;
}

function drawWriting(thread: StormThread, kind: "whole" | "too much" | "fails"): Writing | null {
  const { random } = thread;
  const drawn = drawMemory(thread);
  if (drawn === null) return null;
  const { held, place } = drawn;
  const drawnRange = random.range(held.model.byteSize);
  const isTooMuch = kind === "too much";
  const range = isTooMuch ? { begin: drawnRange.begin, end: held.model.byteSize } : drawnRange;
  const extra = isTooMuch ? random.byteSize(1, 100_000) : 0;
  const content = thread.newContent(range.end - range.begin + extra);
  const source = new ByteSource(random, content.bytes, kind === "fails");
  const streamPlace = random.chance(0.4) ? thread.streams.draw(random, true) : -1;
  const stream = streamPlace < 0 ? null : thread.streams.at(streamPlace)!;
  const onStream = streamPlace < 0 ? "" : `, stream ${streamPlace}`;
  const how = `m${place}.writeFrom(${source.text}, ${range.begin}${onStream})`;
  return { held, range, stream, source, content, how, progress: 0 };
}

/**
 * Begins to write. What the stream is given meanwhile comes between the chunks, but all of them come after
 * what it was given before.
 */
function begin(writing: Writing, signal?: AbortSignal): { queue: Queue; promise: Promise<number> } {
  const { held, range, stream, source, content } = writing;
  const queue = stream === null ? new Queue() : new Queue([stream.queue, ...stream.transfers]);
  const byteSize = range.end - range.begin;
  const bytes = content.bytes.subarray(0, byteSize);
  held.model.write(range.begin, { ...content, bytes }, queue);
  held.transferCount++;
  const promise = held.memory.writeFrom(source.source, {
    byteOffset: range.begin,
    stream: stream?.stream,
    signal,
    onProgress: (progress) => {
      if (progress <= writing.progress || progress > byteSize) {
        throw new StormFailure(
          `${writing.how} to tell of more than ${writing.progress} of ${byteSize} bytes`,
          String(progress),
        );
      }
      writing.progress = progress;
    },
  });
  return { queue, promise };
}

/** @throws {StormFailure} Where all was written, and something else is told. */
function checkWritten({ range, progress, how }: Writing, byteSize: number): void {
  const wanted = range.end - range.begin;
  if (byteSize === wanted && progress === wanted) return;
  throw new StormFailure(`${how} to write all of it`, `${byteSize}, with ${progress} of progress`);
}

/** @throws {StormFailure} Where nobody has told the source that no more of it is wanted. */
async function checkCancelled({ source, how }: Writing): Promise<void> {
  await turnOfEventLoop();
  if (!source.tellsOfCancel || source.isOver || source.isCancelled) return;
  throw new StormFailure(`the source of ${how} to be cancelled`, "it is not");
}

/** Follows a writing to its end, and notes in the model what has come of it. */
function follow(
  thread: StormThread,
  writing: Writing,
  queue: Queue,
  promise: Promise<number>,
  isExpected: (error: unknown) => boolean,
  mustFail: boolean,
): void {
  const { held, how } = writing;
  const settled = promise.then(
    (byteSize) => {
      if (mustFail) throw new StormFailure(`${how} to fail`, `${byteSize} bytes`);
      checkWritten(writing, byteSize);
    },
    async (error: unknown) => {
      if (isExpected(error)) queue.fail();
      else noteFailure(thread, writing, queue, error);
      await checkCancelled(writing);
    },
  );
  const finished = settled.finally(() => {
    held.transferCount--;
    queue.finish();
  });
  thread.follow(finished);
}

/** Draws what a source has, and follows how it comes into memory. */
export const writeFrom: Operation = {
  name: "write-from",
  weight: 6,
  run: async (thread) => {
    await thread.roomForTransfer();
    const kind = thread.random.pick(["whole", "whole", "whole", "too much", "fails"] as const);
    const writing = drawWriting(thread, kind);
    if (writing === null) return;
    thread.begin(writing.how);
    if (writing.held.isLent) return thread.follow(Promise.resolve());
    const { queue, promise } = begin(writing);
    thread.end("begun");
    const isExpected = (error: unknown) =>
      kind === "fails"
        ? error === failedOnPurpose
        : kind === "too much" && error instanceof MemoryError && error.code === "OUT_OF_RANGE";
    follow(thread, writing, queue, promise, isExpected, kind !== "whole");
  },
};

/** Ends a writing by a signal. What the memory has then is not defined, nor when that is over. */
export const abortWriteFrom: Operation = {
  name: "abort-write-from",
  weight: 3,
  run: async (thread) => {
    const writing = drawWriting(thread, "whole");
    if (writing === null) return;
    const { held, how } = writing;
    const abort = new DrawnAbort(thread.random);
    thread.begin(`${how}, aborted ${abort.moment}`);
    if (held.isLent) return;
    let queue!: Queue;
    let byteSize = 0;
    const { error } = await abort.endingOf(async (signal) => {
      const begun = begin(writing, signal);
      ({ queue } = begun);
      byteSize = await begun.promise;
    });
    held.transferCount--;
    if (error === null) {
      checkWritten(writing, byteSize);
    } else {
      held.isLeftInUse = true;
      if (error === abort.reason) queue.fail();
      else noteFailure(thread, writing, queue, error);
      leaveUnderWay(thread, writing, null);
      await checkCancelled(writing);
    }
    queue.finish();
    thread.end(error === abort.reason ? "aborted" : "done");
  },
};
