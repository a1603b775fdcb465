import type { NativeAllocation } from "../native/allocation.ts";
import type { CollectorWatch } from "./collected-memory.ts";
import { HostView, hostResetCount } from "./host-view.ts";
import { MemoryUses } from "./memory-uses.ts";

/**
 * What only some memories have: a view, uses that are counted, a watch of the collector's. It is one
 * object, because a memory with more than eight properties takes longer to make.
 */
export class MemoryExtras {
  /** The view, while there is one. */
  bytes: Uint8Array<ArrayBuffer> | null = null;
  /** The view is of memory that is still there as long as `hostResetCount` is this. */
  resetCount = -1;
  /** What the collector finds when it finds the memory, once the leak guard has given it up. */
  watch: CollectorWatch | null = null;
  #view: HostView | null = null;
  #uses: MemoryUses | null = null;

  /** The uses of the memory, which keep it from being garbage collected while they are referred to. */
  usesOf(memory: object): MemoryUses {
    return (this.#uses ??= new MemoryUses(memory));
  }

  /** The uses, if there were any. */
  get uses(): MemoryUses | null {
    return this.#uses;
  }

  /** @throws {MemoryError} `UNAVAILABLE` where the memory is no longer there. */
  newView(memory: object, allocation: NativeAllocation): Uint8Array<ArrayBuffer> {
    const resetCount = hostResetCount[0]!;
    this.#view = new HostView(allocation, this.usesOf(memory));
    this.resetCount = resetCount;
    return (this.bytes = this.#view.bytes);
  }

  /** Takes the view away, as soon as that can be. */
  detachView(): void {
    this.#view?.detach();
    this.#forgetView();
  }

  /** Takes the view away, or changes nothing and returns false where that cannot be at once. */
  tryToDetachView(): boolean {
    if (this.#view?.tryToDetach() === false) return false;
    this.#forgetView();
    return true;
  }

  #forgetView(): void {
    this.#view = null;
    this.bytes = null;
    this.resetCount = -1;
  }
}
