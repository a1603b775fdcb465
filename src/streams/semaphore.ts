import { checkNotAborted } from "../abort-signal.ts";

/** An action that waits for its turn. */
interface Waiter {
  readonly start: () => void;
  isWaiting: boolean;
  previous: Waiter | null;
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

  /**
   * Runs an action. Where it need not wait, the action begins before the call returns.
   *
   * @param signal Ends the wait for the turn, and the action never begins.
   * @throws As the action does, or the reason of the signal.
   */
  async run(action: () => Promise<void>, signal?: AbortSignal): Promise<void> {
    if (this.#activeCount < this.#activeCountMax && this.#first === null) this.#activeCount++;
    else await this.#turn(signal);
    try {
      await action();
    } finally {
      this.#activeCount--;
      this.#startWaiting();
    }
  }

  /** Resolves when it is the caller's turn, which has begun then. */
  async #turn(signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter: Waiter = { start: resolve, isWaiting: true, previous: this.#last, next: null };
    const leave = () => {
      if (!waiter.isWaiting) return; // its turn has begun
      this.#remove(waiter);
      reject(signal!.reason);
    };
    checkNotAborted(signal);
    signal?.addEventListener("abort", leave, { once: true });
    if (this.#last === null) this.#first = waiter;
    else this.#last.next = waiter;
    this.#last = waiter;
    this.#startWaiting(); // whoever ended last may have come to the end of its stack
    try {
      await promise;
    } finally {
      signal?.removeEventListener("abort", leave);
    }
  }

  #remove(waiter: Waiter): void {
    waiter.isWaiting = false;
    if (waiter.previous === null) this.#first = waiter.next;
    else waiter.previous.next = waiter.next;
    if (waiter.next === null) this.#last = waiter.previous;
    else waiter.next.previous = waiter.previous;
  }

  #startWaiting(): void {
    while (this.#activeCount < this.#activeCountMax && this.#first !== null) {
      const waiter = this.#first;
      waiter.start();
      this.#activeCount++;
      this.#remove(waiter);
    }
  }
}
