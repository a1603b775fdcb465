/**
 * A signal for what may take only so long. Unlike `AbortSignal.timeout` it leaves nothing behind when
 * it is disposed of: under load, thousands of timers would outlive their requests.
 */
export class Deadline implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timer: Timer;
  readonly #forward = () => this.#controller.abort(this.#outer.reason);
  #hasPassed = false;

  /** @param outer Another signal that ends it. */
  constructor(milliseconds: number, outer: AbortSignal) {
    this.#outer = outer;
    this.#timer = setTimeout(() => {
      this.#hasPassed = true;
      this.#controller.abort();
    }, milliseconds);
    if (outer.aborted) this.#forward();
    else outer.addEventListener("abort", this.#forward);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get hasPassed(): boolean {
    return this.#hasPassed;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#forward);
  }
}
