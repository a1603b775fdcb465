import type { NativeAllocation } from "../native/allocation.ts";
import { HostView } from "./host-view.ts";
import type { MemoryUses } from "./memory-uses.ts";

/** So many views are remembered before those are looked for that were garbage collected. */
const countMaxAtFirst = 16;

/**
 * The views that parts of one memory have of their own, because there can be no view of all of it. They
 * are taken away with the memory.
 */
export class PartViews {
  /** A view lives as long as its bytes are held. */
  #views: WeakRef<HostView>[] = [];
  #countMax = countMaxAtFirst;

  /** @throws {MemoryError} `UNAVAILABLE` where the memory is no longer there. */
  add(allocation: NativeAllocation, uses: MemoryUses): HostView {
    const view = new HostView(allocation, uses);
    if (this.#views.length >= this.#countMax) {
      this.#views = this.#views.filter((reference) => reference.deref() !== undefined);
      this.#countMax = Math.max(countMaxAtFirst, 2 * this.#views.length);
    }
    this.#views.push(new WeakRef(view));
    return view;
  }

  /** Takes the views away, each as soon as that can be. */
  detach(): void {
    for (const reference of this.#views) reference.deref()?.detach();
    this.#views = [];
  }

  /** Takes the views away up to one that cannot be taken away at once; then returns false. */
  tryToDetach(): boolean {
    return this.#views.every((reference) => reference.deref()?.tryToDetach() !== false);
  }
}
