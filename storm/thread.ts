import {
  AllocatedMemory,
  type CudaStream,
  MemoryError,
  type MemoryErrorCode,
  type MemoryType,
} from "bun-cuda-memory";
import type { Board, ManagerName } from "./events.ts";
import { StormFailure, textOfError } from "./failure.ts";
import { type Birth, HeldMemory, type HeldView, mayHaveSeenReset } from "./held-memory.ts";
import type { HeldPart } from "./held-part.ts";
import { ByteModel, type Content, type Queue, type Use } from "./model.ts";
import { patternOf } from "./pattern.ts";
import { type Range, RangeSet } from "./range-set.ts";
import { Random, seedOf } from "./random.ts";
import type { RoundPlan } from "./round.ts";
import type { StreamOrigin } from "./stream-origin.ts";

// How many things of a kind a thread has at a time.
const memoryCountMax = 20;
const streamCountMax = 3;
const viewCountMax = 12;
const partCountMax = 8;
const transferCountMax = 6;

/** A stream, and what the thread has queued on it. */
export interface HeldStream {
  stream: CudaStream;
  /** Who has made the stream, where that is not the package. */
  readonly origin: StreamOrigin | null;
  readonly queue: Queue;
  /** Transfers that come after what is queued, and before each other. */
  readonly transfers: Set<Queue>;
  /** How many promises of `finished()` are not settled. */
  finishedCount: number;
  /** Whether memory was freed on it, which may be in use still: the end of that needs the stream. */
  hasFreed: boolean;
}

/** How a call of the package has ended. */
export type Outcome<Value> =
  | { readonly value: Value; readonly error: null }
  | { readonly value: null; readonly error: MemoryError };

/** What a thread gives to another one. */
export type Parcel =
  | {
      readonly kind: "memory";
      readonly handle: unknown;
      readonly bytes: Uint8Array;
      readonly unknown: readonly Range[];
      readonly name: string;
      readonly birth: Birth;
    }
  | {
      readonly kind: "buffer";
      readonly buffer: ArrayBuffer;
      readonly bytes: Uint8Array;
      readonly unknown: readonly Range[];
      readonly name: string;
    };

/** What a Worker asks of the thread that has started it. */
export type ThreadMessage =
  | { readonly kind: "parcel"; readonly to: number; readonly parcel: Parcel }
  | { readonly kind: "terminate"; readonly afterMilliseconds: number };

/**
 * One life of a thread of the storm: what it holds, and what it knows of it.
 *
 * What it decides must follow from its seed alone, however calls end and whatever other threads do.
 * So each step draws from a generator of its own; a place that a step fills is filled, and one that
 * it empties is empty, also where something has failed.
 */
export class StormThread {
  readonly board: Board;
  readonly round: RoundPlan;
  readonly index: number;
  readonly life: number;
  readonly post: (message: ThreadMessage, transfer?: ArrayBuffer[]) => void;
  random: Random;

  readonly memories = places<HeldMemory>(memoryCountMax);
  readonly streams = places<HeldStream>(streamCountMax);
  readonly views = places<HeldView>(viewCountMax);
  readonly parts = places<HeldPart>(partCountMax);
  /** Transfers that nobody has waited for yet, in the order in which they began. */
  readonly transfers: Promise<void>[] = [];
  /** What other threads have sent. */
  readonly inbox: Parcel[] = [];
  /** Memories that other threads have detached, and this one attached. */
  readonly guests: HeldMemory[] = [];
  /** Buffers that other threads have lent, and what they have to show. */
  readonly borrowed: Extract<Parcel, { kind: "buffer" }>[] = [];

  #event = 0;
  #hasEventEnded = true;
  #serial = 0;
  #memoryCount = 0;
  /** Set where the thread is to end with all that it holds. */
  isAbandoned = false;
  /** Set once nothing that follows is reproducible: how far a thread gets before it is ended. */
  isDigestClosed = false;

  constructor(
    board: Board,
    round: RoundPlan,
    index: number,
    life: number,
    post: StormThread["post"],
  ) {
    this.board = board;
    this.round = round;
    this.index = index;
    this.life = life;
    this.post = post;
    this.random = new Random(this.seed);
  }

  get seed(): number {
    return seedOf(this.round.seed, this.index, this.life);
  }

  /** Whether what is logged as an error may be something that was made to fail. */
  get mayLogErrors(): boolean {
    return this.round.hasFaults || this.round.hasResets;
  }

  // ---- Events

  /** Notes what is done next. What is written must follow from the seed. */
  begin(text: string): void {
    if (!this.isDigestClosed) this.board.addToDigest(this.index, text);
    this.#event = this.board.beginEvent(this.index, text);
    this.#hasEventEnded = false;
  }

  /** Notes how that has ended, of which nothing must follow but what is checked. */
  end(outcome: string): void {
    if (this.#hasEventEnded) return;
    this.#hasEventEnded = true;
    this.board.endEvent(this.#event, outcome);
  }

  // ---- What may fail, and how

  /**
   * Calls the package.
   *
   * @param codes How the call may fail, besides what resets explain.
   * @param memories Those that the call needs: where a reset has taken one the call must fail.
   * @throws {StormFailure} For every other error, and where an error that must come does not.
   */
  attempt<Value>(
    codes: readonly MemoryErrorCode[],
    memories: readonly HeldMemory[],
    call: () => Value,
  ): Outcome<Value> {
    const gone = memories.find(({ isGone }) => isGone);
    try {
      const value = call();
      if (gone !== undefined) {
        throw new StormFailure(`UNAVAILABLE: a reset has taken ${gone.name}`, "no error");
      }
      this.end("ok");
      return { value, error: null };
    } catch (error) {
      if (error instanceof StormFailure) throw error;
      return { value: null, error: this.checkError(codes, memories, error) };
    }
  }

  /** @throws {StormFailure} Unless an error is one of those that may be. */
  checkError(
    codes: readonly MemoryErrorCode[],
    memories: readonly HeldMemory[],
    error: unknown,
  ): MemoryError {
    const mayBeGone = memories.some((memory) => memory.mayBeGone);
    const allowed = mayBeGone ? [...codes, "UNAVAILABLE"] : codes;
    if (!(error instanceof MemoryError) || !allowed.includes(error.code)) {
      throw new StormFailure(allowed.join(" or ") || "no error", textOfError(error));
    }
    this.end(error.code);
    return error;
  }

  /** Attaches a memory, which a reset may have taken since it was allocated, also during the call. */
  attemptForHandle<Value>(birth: Birth, call: () => Value): Outcome<Value> {
    try {
      const value = call();
      this.end("ok");
      return { value, error: null };
    } catch (error) {
      const mayBeGone = mayHaveSeenReset(this.board, birth);
      return { value: null, error: this.checkError(mayBeGone ? ["UNAVAILABLE"] : [], [], error) };
    }
  }

  /** Calls the package with what it must refuse. */
  refused(
    codes: readonly MemoryErrorCode[],
    memories: readonly HeldMemory[],
    call: () => unknown,
  ): void {
    try {
      call();
    } catch (error) {
      this.checkError(codes, memories, error);
      return;
    }
    throw new StormFailure(codes.join(" or "), "no error");
  }

  /** How work of CUDA may fail: only where it is made to. */
  get cudaCodes(): readonly MemoryErrorCode[] {
    return this.round.hasFaults ? ["INTERNAL"] : [];
  }

  /** How work on some memories may fail, which CUDA has no part in unless one is a GPU's. */
  codesFor(...memories: readonly HeldMemory[]): readonly MemoryErrorCode[] {
    return memories.some(({ isOnGpu }) => isOnGpu) ? this.cudaCodes : [];
  }

  /** Repeats what fails only where a fault was planted: each of those happens once. */
  untilDone<Value>(codes: readonly MemoryErrorCode[], call: () => Value): Value {
    for (;;) {
      const { value, error } = this.attempt(codes, [], call);
      if (error === null) return value;
    }
  }

  // ---- Memory

  /** Makes a memory and begins to hold it. */
  allocate(
    byteSize: number,
    type: MemoryType,
    gpu: number,
    stream?: HeldStream,
    account?: string,
  ): HeldMemory {
    const isPlain = stream === undefined && account === undefined;
    const options = isPlain ? undefined : { stream: stream?.stream, account };
    const ended = this.#resets("resetsEnded");
    const { value } = this.attempt([], [], () =>
      options === undefined
        ? new AllocatedMemory(byteSize, type, gpu)
        : new AllocatedMemory(byteSize, type, gpu, options),
    );
    const memory = value!;
    const birth = { ended, begun: this.#resets("resetsBegun") };
    this.#checkAllocated(memory, byteSize, type, gpu);
    return this.hold(memory, new ByteModel(byteSize), this.newName(), birth);
  }

  /** Makes a request that nothing can serve. */
  allocateNothing(byteSize: number, type: MemoryType, gpu: number): void {
    const { value: memory } = this.attempt([], [], () => new AllocatedMemory(byteSize, type, gpu));
    const { totalByteSize, bufferCount } = memory!;
    if (totalByteSize === 0 && bufferCount === 0) return;
    throw new StormFailure("an empty memory", `${totalByteSize} bytes, ${bufferCount} buffers`);
  }

  /** Begins to hold a memory that this thread has made, or another one has given to it. */
  hold(memory: AllocatedMemory, model: ByteModel, name: string, birth: Birth): HeldMemory {
    return new HeldMemory(this.board, memory, model, name, birth);
  }

  newName(): string {
    return `memory ${this.index}.${this.life}.${++this.#memoryCount}`;
  }

  #resets(count: "resetsBegun" | "resetsEnded"): Record<ManagerName, number> {
    return { cuda: this.board[count]("cuda"), pinned: this.board[count]("pinned") };
  }

  #checkAllocated(memory: AllocatedMemory, byteSize: number, type: MemoryType, gpu: number): void {
    const { totalByteSize, memoryType, memoryTypeId, pointer } = memory;
    const isPlaceRight =
      memoryType === "GPU" ? type === "GPU" && memoryTypeId === gpu : memoryTypeId === 0;
    if (totalByteSize === byteSize && isPlaceRight && pointer !== null) return;
    const seen = `${totalByteSize} bytes at ${pointer} of ${memoryType} ${memoryTypeId}`;
    throw new StormFailure(`${byteSize} bytes of ${type} ${gpu} or host memory`, seen);
  }

  /**
   * Frees a memory after whatever the thread has queued on it.
   *
   * @param streams The streams with which to free it; the queues of others are waited for.
   */
  free(held: HeldMemory, ...streams: HeldStream[]): void {
    for (const other of this.streams.all) {
      const isLeft = ([use, queue]: [Use, Queue]) =>
        queue === other.queue && !streams.some((stream) => stream.queue.isAfter(use, queue));
      if ([...held.model.uses].some(isLeft)) this.synchronize(other);
    }
    if (streams.length > 0) {
      for (const stream of streams) stream.hasFreed = true;
      const free = () => held.memory.free(streams.map(({ stream }) => stream));
      const { error } = this.attempt(this.cudaCodes, [], free);
      // Nothing was freed then, and the streams may still use the memory.
      if (error !== null) for (const stream of streams) this.synchronize(stream);
    }
    this.attempt([], [], () => held.memory.free());
    held.isFreed = true;
  }

  /** Looks at what the thread still has of a memory that was just freed. */
  checkViewsOf(held: HeldMemory): void {
    for (const view of this.views.all) if (view.held === held) view.check();
  }

  // ---- Bytes

  /** Bytes that tell that they are of this write. */
  newPattern(byteSize: number): Uint8Array {
    const { index: threadIndex, life } = this;
    return patternOf({ threadIndex, life, serial: ++this.#serial }, byteSize);
  }

  newContent(byteSize: number): Content {
    return { bytes: this.newPattern(byteSize), unknown: new RangeSet() };
  }

  // ---- Streams and transfers

  /** Blocks until a stream is done. What its work results in is known then. */
  synchronize(stream: HeldStream): void {
    for (;;) {
      const { error } = this.attempt(this.cudaCodes, [], () => stream.stream.synchronize());
      if (error === null) break;
      stream.queue.fail();
    }
    this.finish(stream);
  }

  /**
   * Notes that a stream is done. An error is told once: it may be on its way to a promise of
   * `finished()`, and what the work results in is in doubt then.
   */
  finish(stream: HeldStream): void {
    if (this.round.hasFaults && stream.finishedCount > 0) stream.queue.doubt();
    stream.queue.finishAll();
  }

  /** Begins to follow a transfer, whose failures are its own. */
  follow(transfer: Promise<void>): void {
    transfer.catch(() => {}); // whoever waits for it learns of it
    this.transfers.push(transfer);
  }

  /** Waits for transfers until there are at most so many that nobody has waited for. */
  async settle(remainingCount: number): Promise<void> {
    while (this.transfers.length > remainingCount) await this.transfers.shift();
  }

  /** Makes room for one more transfer. */
  async roomForTransfer(): Promise<void> {
    await this.settle(transferCountMax - 1);
  }
}

/** A fixed number of places, each of which holds something or nothing. */
class Places<Held> {
  readonly #places: (Held | null)[];

  constructor(count: number) {
    this.#places = Array.from({ length: count }, () => null);
  }

  get all(): Held[] {
    return this.#places.filter((held) => held !== null);
  }

  get count(): number {
    return this.#places.length;
  }

  at(place: number): Held | null {
    return this.#places[place]!;
  }

  set(place: number, held: Held | null): void {
    this.#places[place] = held;
  }

  /** A place that holds something, or is empty; -1 where there is none. */
  draw(random: Random, isHolding: boolean): number {
    const places = [...this.#places.keys()];
    const matching = places.filter((place) => (this.#places[place] !== null) === isHolding);
    return matching.length === 0 ? -1 : random.pick(matching);
  }
}

function places<Held>(count: number): Places<Held> {
  return new Places<Held>(count);
}
