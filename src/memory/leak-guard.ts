/** How many owners the guard keeps apart before it promotes some: a power of two. */
const youngCountMax = 256;
const placeMask = youngCountMax - 1;

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
  /** The owner of each ticket, by its last bits. */
  readonly #young: (Owner | undefined)[] = Array.from({ length: youngCountMax });
  #nextTicket = 1;
  /** No owner has a ticket below this, unless it is in the place of a later one. */
  #firstYoungTicket = 1;
  #isFlushQueued = false;
  readonly #flush = () => {
    this.#isFlushQueued = false;
    this.#promoteYoung();
  };

  /** @param promote Is called with each owner that is to be watched from then on. */
  constructor(promote: (owner: Owner) => void) {
    this.#promote = promote;
  }

  /** Numbers the owners, each with another number. */
  newTicket(): number {
    return this.#nextTicket++;
  }

  /** Begins to watch an owner, with a ticket that it was given in the same job. */
  watch(owner: Owner, ticket: number): void {
    if (!this.#isFlushQueued) {
      this.#isFlushQueued = true;
      queueMicrotask(this.#flush);
    }
    const place = ticket & placeMask;
    const older = this.#young[place];
    this.#young[place] = owner;
    if (older !== undefined) this.#promote(older);
  }

  /**
   * Ends the watch of an owner, which has been released as it should be. Returns false where the
   * owner was promoted.
   */
  release(owner: Owner, ticket: number): boolean {
    const place = ticket & placeMask;
    if (this.#young[place] !== owner) return false;
    this.#young[place] = undefined;
    return true;
  }

  #promoteYoung(): void {
    const end = this.#nextTicket;
    const first = Math.max(this.#firstYoungTicket, end - youngCountMax);
    this.#firstYoungTicket = end;
    for (let ticket = first; ticket < end; ticket++) {
      const place = ticket & placeMask;
      const owner = this.#young[place];
      if (owner === undefined) continue;
      this.#young[place] = undefined;
      this.#promote(owner);
    }
  }
}
