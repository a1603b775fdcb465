/** How many owners the guard keeps apart before it promotes some. */
const youngCountMax = 256;

/** Taken when the package is loaded: tests replace the global one. */
const { queueMicrotask } = globalThis;

/**
 * Tells the owners that live longer than the job that made them from those that do not.
 *
 * Having the garbage collector watch an object takes longer than everything else about a short-lived
 * memory together. So that begins only if the object is still alive when the job that made it is
 * over, and until then the guard itself keeps it alive.
 */
export class LeakGuard<Owner extends object> {
  readonly #promote: (owner: Owner) => void;
  readonly #young: (Owner | undefined)[] = Array.from({ length: youngCountMax });
  #youngCount = 0;
  #isFlushQueued = false;
  readonly #flush = () => {
    this.#isFlushQueued = false;
    this.#promoteYoung();
  };

  /** @param promote Is called with each owner that is to be watched from then on. */
  constructor(promote: (owner: Owner) => void) {
    this.#promote = promote;
  }

  /** Begins to watch an owner. Returns a ticket for {@link release}. */
  watch(owner: Owner): number {
    if (this.#youngCount === youngCountMax) this.#promoteYoung();
    if (!this.#isFlushQueued) {
      this.#isFlushQueued = true;
      queueMicrotask(this.#flush);
    }
    const ticket = this.#youngCount++;
    this.#young[ticket] = owner;
    return ticket;
  }

  /**
   * Ends the watch of an owner, which has been released as it should be. Returns false where the
   * owner was promoted.
   */
  release(owner: Owner, ticket: number): boolean {
    if (this.#young[ticket] !== owner) return false;
    this.#young[ticket] = undefined;
    if (ticket === this.#youngCount - 1) this.#youngCount = ticket;
    return true;
  }

  #promoteYoung(): void {
    const count = this.#youngCount;
    this.#youngCount = 0;
    for (let ticket = 0; ticket < count; ticket++) {
      const owner = this.#young[ticket];
      if (owner === undefined) continue;
      this.#young[ticket] = undefined;
      this.#promote(owner);
    }
  }
}
