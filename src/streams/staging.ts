import { freeAllocation, type NativeAllocation, newAllocation } from "../native/allocation.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { type NativeStream, StreamEvent } from "../native/stream.ts";
import { type Piece, pieceByteSize } from "./transfer.ts";
import { waitUntil } from "./wait.ts";

const { pinned_memory_try_alloc } = memoryLibrary;

/** A part of the staging memory that has room for one piece, and that a GPU may be using. */
export class Slot implements Disposable {
  readonly byteOffset: number;
  #end: StreamEvent | null = null;

  constructor(byteOffset: number) {
    this.byteOffset = byteOffset;
  }

  /** Has the stream use the slot until it has done what it was given so far. */
  useOn(stream: NativeStream): void {
    this.#end = new StreamEvent(stream);
  }

  get isInUse(): boolean {
    return this.#end !== null;
  }

  /** Whether the use is over, as far as CUDA tells, whether or not the work has failed. */
  isOver(): boolean {
    return this.#end === null || this.#end.isOver();
  }

  /** Resolves when no stream uses the slot. */
  async unused(): Promise<void> {
    const end = this.#end;
    if (end === null) return;
    await waitUntil(() => end.isDone());
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.#end?.[Symbol.dispose]();
    this.#end = null;
  }
}

/**
 * Pinned memory through which the pieces of one transfer pass: two slots, so that one is filled or
 * emptied while the GPU works on the other, or one slot for a transfer of one piece.
 */
export class Staging implements Disposable {
  readonly allocation: NativeAllocation;
  readonly #slots: Slot[];

  private constructor(allocation: NativeAllocation, slotCount: number) {
    this.allocation = allocation;
    this.#slots = Array.from({ length: slotCount }, (_, i) => new Slot(i * pieceByteSize));
  }

  /** Returns `null` where the pinned pool has no room, or where there is no pool. */
  static tryToAllocate(transferByteSize: number): Staging | null {
    const allocation = newAllocation();
    const byteSize = Math.min(transferByteSize, 2 * pieceByteSize);
    const status = pinned_memory_try_alloc(allocation, byteSize);
    if (status !== memoryStatus.MEMORY_OK) return null;
    return new Staging(allocation, byteSize > pieceByteSize ? 2 : 1);
  }

  slotOf(piece: Piece): Slot {
    return this.#slots[(piece.offset / pieceByteSize) % this.#slots.length]!;
  }

  /** Whether all uses are over, as far as CUDA tells, whether or not the work has failed. */
  isOver(): boolean {
    return this.#slots.every((slot) => slot.isOver());
  }

  /** Resolves when no stream uses any slot. */
  async unused(): Promise<void> {
    for (const slot of this.#slots) await slot.unused();
  }

  /** Frees the memory, which no stream may be using. */
  [Symbol.dispose](): void {
    for (const slot of this.#slots) slot[Symbol.dispose]();
    freeAllocation(this.allocation);
  }
}
