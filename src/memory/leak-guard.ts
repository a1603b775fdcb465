/** The most objects that wait for the end of the current job; when there are more, all register. */
const youngCountMax = 256;

/**
 * Notices objects that are dropped without having been released: a `FinalizationRegistry` that
 * costs almost nothing for objects that live shortly.
 *
 * Registering and unregistering an object takes longer than everything else about a short-lived
 * memory together. So an object is registered only if it is still alive when the job that made it
 * is over, and until then the guard itself keeps it alive.
 */
export class LeakGuard<Owner extends object, Resource> {
  readonly #resourceOf: (owner: Owner) => Resource;
  readonly #registry: FinalizationRegistry<Resource>;
  readonly #young: (Owner | undefined)[] = Array.from({ length: youngCountMax });
  #youngCount = 0;
  #isFlushQueued = false;
  readonly #flush = () => {
    this.#isFlushQueued = false;
    this.#registerYoung();
  };

  /**
   * @param resourceOf Returns what is to be released when an owner is gone, which must not refer to
   * the owner.
   * @param onLeak Is called with that, some time after the owner was garbage collected.
   */
  constructor(resourceOf: (owner: Owner) => Resource, onLeak: (resource: Resource) => void) {
    this.#resourceOf = resourceOf;
    this.#registry = new FinalizationRegistry(onLeak);
  }

  /** Begins to watch an owner. Returns a ticket for {@link release}. */
  watch(owner: Owner): number {
    if (this.#youngCount === youngCountMax) this.#registerYoung();
    if (!this.#isFlushQueued) {
      this.#isFlushQueued = true;
      queueMicrotask(this.#flush);
    }
    const ticket = this.#youngCount++;
    this.#young[ticket] = owner;
    return ticket;
  }

  /** Ends the watch of an owner, which has been released as it should be. */
  release(owner: Owner, ticket: number): void {
    if (this.#young[ticket] !== owner) {
      this.#registry.unregister(owner);
      return;
    }
    this.#young[ticket] = undefined;
    if (ticket === this.#youngCount - 1) this.#youngCount = ticket;
  }

  #registerYoung(): void {
    for (let ticket = 0; ticket < this.#youngCount; ticket++) {
      const owner = this.#young[ticket];
      if (owner === undefined) continue;
      this.#young[ticket] = undefined;
      this.#registry.register(owner, this.#resourceOf(owner), owner);
    }
    this.#youngCount = 0;
  }
}
