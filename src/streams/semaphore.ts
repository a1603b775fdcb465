/** An action that waits for its turn. */
interface Waiter {
  readonly start: () => void;
  next: Waiter | null;
}

/** Runs no more than so many actions at once; others wait, in the order in which they came. */
export class Semaphore {
  readonly #activeCountMax: number;
  #activeCount = 0;
  #first: Waiter | null = null;
  #last: Waiter | null = null;

  constructor(activeCountMax: number) {
    this.#activeCountMax = activeCountMax;
  }

  /** Whether nothing runs or waits. */
  get isIdle(): boolean {
    return this.#activeCount === 0 && this.#first === null;
  }

  /** Runs an action. Where it need not wait, the action begins before the call returns. */
  async run(action: () => Promise<void>): Promise<void> {
    if (this.#activeCount < this.#activeCountMax && this.#first === null) this.#activeCount++;
    else await this.#turn();
    try {
      await action();
    } finally {
      this.#activeCount--;
      this.#startWaiting();
    }
  }

  /** Resolves when it is the caller's turn, which has begun then. */
  #turn(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter: Waiter = { start: resolve, next: null };
    if (this.#last === null) this.#first = waiter;
    else this.#last.next = waiter;
    this.#last = waiter;
    this.#startWaiting(); // whoever ended last may have come to the end of its stack
    return promise;
  }

  #startWaiting(): void {
    while (this.#activeCount < this.#activeCountMax && this.#first !== null) {
      const waiter = this.#first;
      waiter.start();
      this.#activeCount++;
      this.#first = waiter.next;
      if (this.#first === null) this.#last = null;
    }
  }
}
