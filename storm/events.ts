import { closeSync, ftruncateSync, openSync } from "node:fs";
import { threadCountMax } from "./options.ts";

// What the threads of the storm and its parent share: a file that all of them map. It survives a
// Worker that is terminated, and the process when that crashes.

/** The events that are kept; the oldest are overwritten. */
const eventCountMax = 1024;
const eventByteSize = 256;
/** An event begins with its number from 1 (0 while it is being written), thread and length. */
const eventHeaderByteSize = 12;
/** One for each Worker, and the last for the thread that starts them. */
const laneCount = threadCountMax + 1;
export const mainThreadIndex = threadCountMax;
/** The managers' pointers that a thread may hold at a time. */
export const pointerCountMax = 32;

/** The streams of its own making that a thread may have at a time. */
export const foreignStreamCountMax = 8;
/** Stands for a stream that is about to be made, or destroyed. */
export const streamInBetween = 1;

/** Places of the numbers that all threads count with. */
const word = {
  eventCount: 0,
  hasFailed: 1,
  isTimeUp: 2,
  round: 3,
  cudaResetsBegun: 4,
  cudaResetsEnded: 5,
  pinnedResetsBegun: 6,
  pinnedResetsEnded: 7,
  destroyFaults: 8,
  /** One for each thread. */
  digests: 16,
  currentEvents: 16 + laneCount,
} as const;

const wordsByteSize = 256 * 4;
/** Address, bytes and kind of memory of each pointer: see {@link PointerRecord}. */
const pointersByteSize = laneCount * pointerCountMax * 3 * 8;
const streamsByteSize = laneCount * foreignStreamCountMax * 8;
const eventsByteSize = eventCountMax * eventByteSize;
const totalByteSize = wordsByteSize + pointersByteSize + streamsByteSize + eventsByteSize;

/** A manager's pointer that a thread holds, or is about to get (address 0) or to free. */
export interface PointerRecord {
  readonly address: number;
  readonly byteSize: number;
  /** The GPU, or -1 for system memory. */
  readonly deviceId: number;
}

export interface StormEvent {
  readonly number: number;
  readonly threadIndex: number;
  readonly text: string;
}

/** A manager whose resets are counted. */
export type ManagerName = "cuda" | "pinned";

export class Board {
  readonly #words: Int32Array;
  readonly #pointers: Float64Array;
  readonly #streams: Float64Array;
  readonly #events: Uint8Array;
  readonly #eventWords: Int32Array;
  readonly #encoder = new TextEncoder();

  /** Makes the file, empty. */
  static create(path: string): Board {
    const file = openSync(path, "w");
    ftruncateSync(file, totalByteSize);
    closeSync(file);
    return new Board(path);
  }

  constructor(path: string) {
    const { buffer, byteOffset } = Bun.mmap(path, { shared: true });
    this.#words = new Int32Array(buffer, byteOffset, wordsByteSize / 4);
    this.#pointers = new Float64Array(buffer, byteOffset + wordsByteSize, pointersByteSize / 8);
    const streamsOffset = byteOffset + wordsByteSize + pointersByteSize;
    this.#streams = new Float64Array(buffer, streamsOffset, streamsByteSize / 8);
    const eventsOffset = streamsOffset + streamsByteSize;
    this.#events = new Uint8Array(buffer, eventsOffset, eventsByteSize);
    this.#eventWords = new Int32Array(buffer, eventsOffset, eventsByteSize / 4);
  }

  // ---- Events

  /** How many events there have been. */
  get eventCount(): number {
    return Atomics.load(this.#words, word.eventCount) >>> 0;
  }

  /** Notes what a thread is about to do. Returns the event's number, for {@link endEvent}. */
  beginEvent(threadIndex: number, text: string): number {
    // Once something has failed, what led to it must not be overwritten: the process is ended soon.
    while (this.hasFailed) Bun.sleepSync(1000);
    const index = Atomics.add(this.#words, word.eventCount, 1) >>> 0;
    const at = (index % eventCountMax) * eventByteSize;
    Atomics.store(this.#eventWords, at / 4, 0);
    this.#eventWords[at / 4 + 1] = threadIndex;
    this.#eventWords[at / 4 + 2] = this.#encode(text, at + eventHeaderByteSize, at);
    Atomics.store(this.#eventWords, at / 4, index + 1);
    Atomics.store(this.#words, word.currentEvents + threadIndex, index);
    return index;
  }

  /** Adds to an event how it has ended, unless it has been overwritten. */
  endEvent(index: number, outcome: string): void {
    const at = (index % eventCountMax) * eventByteSize;
    if (this.#eventWords[at / 4] !== index + 1) return;
    const length = this.#eventWords[at / 4 + 2]!;
    const added = this.#encode(` -> ${outcome}`, at + eventHeaderByteSize + length, at);
    this.#eventWords[at / 4 + 2] = length + added;
  }

  #encode(text: string, offset: number, eventOffset: number): number {
    const room = this.#events.subarray(offset, eventOffset + eventByteSize);
    return this.#encoder.encodeInto(text, room).written;
  }

  /** The last events of all threads, in order. */
  lastEvents(count: number): StormEvent[] {
    const end = this.eventCount;
    const first = Math.max(0, end - Math.min(count, eventCountMax));
    const events: StormEvent[] = [];
    for (let index = first; index < end; index++) {
      const event = this.#event(index);
      if (event !== null) events.push(event);
    }
    return events;
  }

  /** What a thread has begun last, which may be longer ago than {@link lastEvents} go back. */
  lastEventOf(threadIndex: number): StormEvent | null {
    return this.#event(Atomics.load(this.#words, word.currentEvents + threadIndex) >>> 0);
  }

  #event(index: number): StormEvent | null {
    const at = (index % eventCountMax) * eventByteSize;
    if (Atomics.load(this.#eventWords, at / 4) !== index + 1) return null;
    const [threadIndex, length] = this.#eventWords.subarray(at / 4 + 1, at / 4 + 3);
    const begin = at + eventHeaderByteSize;
    const text = new TextDecoder().decode(this.#events.slice(begin, begin + length!));
    return { number: index, threadIndex: threadIndex!, text };
  }

  // ---- What a thread has decided, as one number

  addToDigest(threadIndex: number, text: string): void {
    const at = word.digests + threadIndex;
    this.#words[at] = Bun.hash.xxHash32(text, this.#words[at]! >>> 0);
  }

  /** The decisions of all threads. */
  get digest(): string {
    const digests = this.#words.subarray(word.digests, word.digests + laneCount);
    return Bun.hash.xxHash64(digests).toString(16);
  }

  // ---- How it goes

  get hasFailed(): boolean {
    return Atomics.load(this.#words, word.hasFailed) !== 0;
  }

  /** Returns whether this failure is the first. */
  fail(): boolean {
    return Atomics.exchange(this.#words, word.hasFailed, 1) === 0;
  }

  get isTimeUp(): boolean {
    return Atomics.load(this.#words, word.isTimeUp) !== 0;
  }

  endTime(): void {
    Atomics.store(this.#words, word.isTimeUp, 1);
  }

  get round(): number {
    return Atomics.load(this.#words, word.round);
  }

  /** Begins a round, in which nothing has been counted yet. */
  beginRound(round: number): void {
    Atomics.store(this.#words, word.round, round);
    this.#words.fill(0, word.cudaResetsBegun, word.digests);
    this.#pointers.fill(0);
    this.#streams.fill(0);
  }

  // ---- Resets, after which a thread finds its memory gone

  countResetBegun(manager: ManagerName): void {
    Atomics.add(this.#words, resetsBegun(manager), 1);
  }

  countResetEnded(manager: ManagerName): void {
    Atomics.add(this.#words, resetsBegun(manager) + 1, 1);
  }

  resetsBegun(manager: ManagerName): number {
    return Atomics.load(this.#words, resetsBegun(manager));
  }

  resetsEnded(manager: ManagerName): number {
    return Atomics.load(this.#words, resetsBegun(manager) + 1);
  }

  // ---- Faults that make a function fail with which things are given back

  countDestroyFault(): void {
    Atomics.add(this.#words, word.destroyFaults, 1);
  }

  get destroyFaultCount(): number {
    return Atomics.load(this.#words, word.destroyFaults);
  }

  // ---- Pointers, which outlive the thread that got them

  setPointer(threadIndex: number, slot: number, record: PointerRecord | null): void {
    const { address, byteSize, deviceId } = record ?? { address: 0, byteSize: 0, deviceId: 0 };
    const at = (threadIndex * pointerCountMax + slot) * 3;
    this.#pointers.set([address, byteSize, deviceId], at);
  }

  pointersOf(threadIndex: number): (PointerRecord | null)[] {
    return Array.from({ length: pointerCountMax }, (_, slot) => {
      const at = (threadIndex * pointerCountMax + slot) * 3;
      const [address, byteSize, deviceId] = this.#pointers.subarray(at, at + 3);
      if (byteSize === 0) return null;
      return { address: address!, byteSize: byteSize!, deviceId: deviceId! };
    });
  }

  // ---- Streams that are not the package's, which outlive the thread that made them

  /** @param handle The stream; 0 where there is none, and {@link streamInBetween}. */
  setStream(threadIndex: number, slot: number, handle: number): void {
    this.#streams[threadIndex * foreignStreamCountMax + slot] = handle;
  }

  streamsOf(threadIndex: number): number[] {
    const begin = threadIndex * foreignStreamCountMax;
    return [...this.#streams.subarray(begin, begin + foreignStreamCountMax)];
  }
}

function resetsBegun(manager: ManagerName): number {
  return manager === "cuda" ? word.cudaResetsBegun : word.pinnedResetsBegun;
}
