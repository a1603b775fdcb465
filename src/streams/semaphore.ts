/** Runs no more than so many actions at once; others wait, in the order in which they came. */
export class Semaphore {
  readonly #activeCountMax: number;
  #activeCount = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(activeCountMax: number) {
    this.#activeCountMax = activeCountMax;
  }

  /** Runs an action. Where it need not wait, the action begins before the call returns. */
  async run(action: () => Promise<void>): Promise<void> {
    if (this.#activeCount === this.#activeCountMax) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.push(resolve);
      await promise; // the action that ends hands its place over
    } else {
      this.#activeCount++;
    }
    try {
      await action();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#activeCount--;
      else next();
    }
  }
}
