import type { ReadableOptions } from "bun-cuda-memory";
import { StormFailure } from "../failure.ts";
import type { HeldMemory } from "../held-memory.ts";
import { checkBytes, type Content, Queue } from "../model.ts";
import { type Range, RangeSet } from "../range-set.ts";
import type { StormThread } from "../thread.ts";
import { DrawnAbort } from "./aborted.ts";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";
import { noteFailure } from "./transfer.ts";

// Streams of bytes out of memory.

interface Reading {
  readonly held: HeldMemory;
  readonly place: number;
  readonly range: Range;
  readonly options: ReadableOptions;
  readonly how: string;
}

function drawReading(thread: StormThread): Reading | null {
  const { random } = thread;
  const drawn = drawMemory(thread);
  if (drawn === null) return null;
  const { held, place } = drawn;
  const range = random.range(held.model.byteSize);
  const byteSize = range.end - range.begin;
  // Many chunks would keep a thread busy for long.
  const chunkByteSize = random.chance(0.5)
    ? undefined
    : random.between(Math.ceil(byteSize / 20), byteSize);
  const isToEnd = range.end === held.model.byteSize && random.chance(0.5);
  const options: ReadableOptions = {
    byteOffset: range.begin,
    byteSize: isToEnd ? undefined : byteSize,
    chunkByteSize,
  };
  const chunks = chunkByteSize === undefined ? "" : `, chunks of ${chunkByteSize}`;
  const how = `m${place}.readable(${byteSize} bytes, ${range.begin}${chunks})`;
  return { held, place, range, options, how };
}

/** Begins to read. What is written to the memory meanwhile may be read, or not. */
function begin({ held, range }: Reading): { queue: Queue; content: Content } {
  const queue = new Queue();
  held.transferCount++;
  return { queue, content: held.model.read(range, queue) };
}

function end({ held }: Reading, queue: Queue): void {
  held.transferCount--;
  queue.finish();
}

/** Looks at the first bytes of what was to be read. */
function check({ how, held }: Reading, queue: Queue, seen: Uint8Array, content: Content): void {
  if (queue.isInDoubt) return;
  const range = { begin: 0, end: seen.byteLength };
  checkBytes(`what ${how} of ${held.name} has read`, seen, {
    bytes: content.bytes.subarray(0, seen.byteLength),
    unknown: new RangeSet(content.unknown.within(range)),
  });
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(chunks));
}

async function readByChunks(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return joined(chunks);
}

/** Reads into buffers of its own, which have other sizes than the chunks. */
async function readByBuffers(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  const reader = stream.getReader({ mode: "byob" });
  const chunks: Uint8Array[] = [];
  for (let byteSize = 1000; ; byteSize = Math.min(2 * byteSize, 1 << 20)) {
    const { done, value } = await reader.read(new Uint8Array(byteSize));
    if (value !== undefined) chunks.push(value.slice());
    if (done) return joined(chunks);
  }
}

const readers = {
  "chunk by chunk": readByChunks,
  "into buffers": readByBuffers,
  "as a response": async (stream: ReadableStream<Uint8Array>) => new Response(stream).bytes(),
} as const;
const readerNames = Object.keys(readers) as (keyof typeof readers)[];

/** Reads all, and follows how it comes. */
export const readable: Operation = {
  name: "readable",
  weight: 5,
  run: async (thread) => {
    await thread.roomForTransfer();
    const reading = drawReading(thread);
    if (reading === null) return;
    const { held, options, how } = reading;
    const name = thread.random.pick(readerNames);
    thread.begin(`${how} ${name}`);
    const { queue, content } = begin(reading);
    const promise = readers[name](held.memory.readable(options));
    thread.end("begun");
    const settled = promise.then(
      (bytes) => {
        if (bytes.byteLength === content.bytes.byteLength) check(reading, queue, bytes, content);
        else throw new StormFailure(`${how} to have all bytes`, `${bytes.byteLength}`);
      },
      (error: unknown) => noteFailure(thread, { held, stream: null }, queue, error),
    );
    thread.follow(settled.finally(() => end(reading, queue)));
  },
};

/** Reads some chunks, and no more: the stream is cancelled, also while it reads, or aborted. */
export const cancelReadable: Operation = {
  name: "cancel-readable",
  weight: 3,
  run: async (thread) => {
    const { random } = thread;
    const reading = drawReading(thread);
    if (reading === null) return;
    const { held, options, how } = reading;
    const chunkCount = random.below(4);
    const isAborted = random.chance(0.5);
    const isReading = random.chance(0.5);
    const abort = new DrawnAbort(random);
    thread.begin(
      `${how}, ${chunkCount} chunks, ${isAborted ? `aborted ${abort.moment}` : "cancelled"}`,
    );
    const { queue, content } = begin(reading);
    held.isLeftInUse = true; // by the chunk that is under way
    const chunks: Uint8Array[] = [];
    const read = async (signal: AbortSignal | undefined, countMax: number): Promise<void> => {
      const reader = held.memory.readable({ ...options, signal }).getReader();
      while (chunks.length < countMax) {
        const { done, value } = await reader.read();
        if (done) return;
        chunks.push(value);
      }
      const last = isReading ? reader.read() : null;
      await reader.cancel("enough");
      if (last !== null && !(await last).done) {
        throw new StormFailure(`nothing more of ${how}, which was cancelled`, "a chunk");
      }
    };
    const { error } = isAborted
      ? await abort.endingOf((signal) => read(signal, Infinity))
      : await read(undefined, chunkCount).then(
          () => ({ error: null }),
          (failure: unknown) => ({ error: failure }),
        );
    if (error === null || (isAborted && error === abort.reason)) {
      check(reading, queue, joined(chunks), content);
      thread.end(error === null ? "done" : "aborted");
    } else {
      noteFailure(thread, { held, stream: null }, queue, error);
    }
    end(reading, queue);
  },
};

/** Frees the memory after the first chunk: the stream must not go on. */
export const freeReadable: Operation = {
  name: "free-readable",
  weight: 2,
  run: async (thread) => {
    const reading = drawReading(thread);
    if (reading === null) return;
    const { held, place, options, how } = reading;
    thread.memories.set(place, null);
    thread.begin(`${how}, which is freed after the first chunk`);
    const { queue, content } = begin(reading);
    const reader = held.memory.readable(options).getReader();
    let bytes: Uint8Array = new Uint8Array(0);
    try {
      bytes = (await reader.read()).value!;
      check(reading, queue, bytes, content);
    } catch (error) {
      noteFailure(thread, { held, stream: null }, queue, error);
    }
    end(reading, queue);
    thread.free(held);
    thread.checkViewsOf(held);
    if (bytes.byteLength === 0) return;
    const isAll = bytes.byteLength === content.bytes.byteLength;
    const next = await reader.read().catch((error: unknown) => ({ error }));
    if ("error" in next && !isAll) {
      thread.checkError(["UNAVAILABLE"], [held], next.error);
    } else if (!("done" in next && next.done && isAll)) {
      throw new StormFailure(`${how} to fail once it is freed`, JSON.stringify(next));
    }
  },
};
