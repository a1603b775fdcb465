import { invalidArgument } from "./arguments.ts";

/** Whether the value is a signal, of whatever realm or library. It may be a Proxy that was revoked. */
function isSignal(value: unknown): value is AbortSignal {
  try {
    const { aborted, addEventListener, removeEventListener } = value as AbortSignal;
    return (
      typeof aborted === "boolean" &&
      typeof addEventListener === "function" &&
      typeof removeEventListener === "function"
    );
  } catch {
    return false;
  }
}

/** @throws {MemoryError} `INVALID_ARG` for what is neither a signal nor `undefined`. */
export function checkSignal(
  operation: string,
  signal: unknown,
): asserts signal is AbortSignal | undefined {
  if (signal === undefined || isSignal(signal)) return;
  throw invalidArgument(operation, "signal", "an AbortSignal", signal);
}

/** @throws The signal's reason, once it is aborted. */
export function checkNotAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw signal.reason;
}

/**
 * Settles as some work does, or rejects with the signal's reason as soon as it is aborted, while the work
 * goes on. The signal has no listener of it afterwards.
 *
 * @param begin Begins the work.
 * @param onLateError What the work fails with after the signal was aborted, which nobody else is told.
 */
export function untilAborted<Result>(
  signal: AbortSignal,
  begin: () => Promise<Result>,
  onLateError: (error: unknown) => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    const fail = (error: unknown) => {
      signal.removeEventListener("abort", abort);
      if (!signal.aborted) return reject(error);
      reject(signal.reason); // the listener may come only after this
      onLateError(error);
    };
    signal.addEventListener("abort", abort, { once: true });
    try {
      begin().then((result) => {
        signal.removeEventListener("abort", abort);
        resolve(result);
      }, fail);
    } catch (error) {
      fail(error); // the stack has no room
    }
  });
}

/** Waits for one promise after another, until a signal is aborted. */
export class AbortableWait implements Disposable {
  readonly #signal: AbortSignal | undefined;
  /** Rejects the wait that is under way. */
  #reject: ((reason: unknown) => void) | null = null;
  readonly #onAbort = () => this.#reject?.(this.#signal!.reason);

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
    signal?.addEventListener("abort", this.#onAbort);
  }

  /** Settles as the promise does, unless the signal is aborted before: then it is rejected at once. */
  until<Result>(promise: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      promise.then(resolve, reject);
      this.#reject = reject;
      if (this.#signal?.aborted) this.#onAbort();
    });
  }

  [Symbol.dispose](): void {
    this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}
