import type { NativeAllocation } from "../native/allocation.ts";
import type { Borrowing } from "./borrowed-memory.ts";
import type { CollectorWatch } from "./collected-memory.ts";
import { HostView, hostResetCount } from "./host-view.ts";
import { MemoryUses } from "./memory-uses.ts";
import { PartViews } from "./part-views.ts";

/**
 * What only some memories have: a view, uses that are counted, a watch of the collector's, an owner
 * elsewhere, a memory that they are part of. It is one object, because a memory with more than eight properties takes longer to make.
 */
export class MemoryExtras<Memory extends object> {
  /** The view, while there is one. */
  bytes: Uint8Array<ArrayBuffer> | null = null;
  /** The view is of memory that is still there as long as `hostResetCount` is this. */
  resetCount = -1;
  /** What the collector finds when it finds the memory, once the leak guard has given it up. */
  watch: CollectorWatch | null = null;
  /** The memory that the memory is a part of. */
  parent: Memory | null = null;
  /** How far into its block a part begins, in bytes. */
  blockOffset = 0;
  /** What is to be done when the use of somebody else's memory ends. */
  borrowing: Borrowing | null = null;
  #view: HostView | null = null;
  #partViews: PartViews | null = null;
  #uses: MemoryUses | null = null;

  /** The uses of the memory, which keep it from being garbage collected while they are referred to. */
  usesOf(memory: object): MemoryUses {
    return (this.#uses ??= new MemoryUses(memory));
  }

  /** The uses, if there were any. */
  get uses(): MemoryUses | null {
    return this.#uses;
  }

  /** Whether somebody else owns the bytes: the program, or the memory that this is a part of. */
  get isBorrowed(): boolean {
    return this.borrowing !== null || this.parent !== null;
  }

  /**
   * @param uses The uses of the memory, or of the one that it is a part of.
   * @throws {MemoryError} `UNAVAILABLE` where the memory is no longer there.
   */
  newView(allocation: NativeAllocation, uses: MemoryUses): Uint8Array<ArrayBuffer> {
    const resetCount = hostResetCount[0]!;
    // No reset takes away what the program owns: its view stays.
    if (this.#view === null || this.borrowing === null) this.#view = new HostView(allocation, uses);
    this.resetCount = resetCount;
    return (this.bytes = this.#view.bytes);
  }

  /** A part's view, which is a part of the view of all of the memory. */
  viewOfPart(bytesOfWhole: Uint8Array<ArrayBuffer>, byteSize: number): Uint8Array<ArrayBuffer> {
    if (this.bytes?.buffer !== bytesOfWhole.buffer) {
      this.bytes = bytesOfWhole.subarray(this.blockOffset, this.blockOffset + byteSize);
    }
    return this.bytes;
  }

  /**
   * A part's view where there can be none of all of the memory.
   *
   * @param whole What all of the memory has.
   * @throws {MemoryError} `UNAVAILABLE` where the memory is no longer there.
   */
  ownViewOfPart(
    allocation: NativeAllocation,
    uses: MemoryUses,
    whole: MemoryExtras<Memory>,
  ): Uint8Array<ArrayBuffer> {
    if (this.#view === null || !this.#view.isThere) {
      this.#view = (whole.#partViews ??= new PartViews()).add(allocation, uses);
    }
    return this.#view.bytes;
  }

  /** Takes the view away, as soon as that can be, and those of parts. */
  detachView(): void {
    this.#view?.detach();
    this.#partViews?.detach();
    this.#forgetView();
  }

  /** Takes the view away, or returns false where that cannot be at once, also of a part. */
  tryToDetachView(): boolean {
    if (this.#partViews?.tryToDetach() === false) return false;
    if (this.#view?.tryToDetach() === false) return false;
    this.#forgetView();
    return true;
  }

  #forgetView(): void {
    this.#view = null;
    this.#partViews = null;
    this.bytes = null;
    this.resetCount = -1;
  }
}
