import { type NativeStream, StreamEvent } from "../native/stream.ts";

/**
 * How long a wait asks without a pause. A copy of some kilobytes is over by then, and so short a
 * wait delays nothing else on the thread noticeably.
 */
const spinNanoseconds = 10_000;

/**
 * How long a wait asks in each turn of the event loop. Its later
 * pauses are timers, which take a millisecond at least.
 */
const eagerNanoseconds = 2_000_000;

/** The longest pause between two questions. */
const delayMillisecondsMax = 100;

/** Resolves in the next turn of the event loop, after timers, requests and all else that waits. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/**
 * Waits for work of a GPU without blocking the event loop. CUDA says that work is done only when it
 * is asked.
 *
 * What is over in some microseconds is noticed at once. After two milliseconds the pauses between
 * two questions grow with the time that has passed, to an eighth of it: a wait becomes at most that
 * much longer (or a timer's millisecond), and a long one costs next to no CPU time.
 *
 * @param isDone Is asked until it returns true, or throws, which rejects the promise.
 */
export async function waitUntil(isDone: () => boolean): Promise<void> {
  const start = Bun.nanoseconds();
  let elapsed = 0;
  for (; elapsed < spinNanoseconds; elapsed = Bun.nanoseconds() - start) {
    if (isDone()) return;
  }
  for (; elapsed < eagerNanoseconds; elapsed = Bun.nanoseconds() - start) {
    await yieldToEventLoop();
    if (isDone()) return;
  }
  for (;;) {
    const milliseconds = (Bun.nanoseconds() - start) / 1e6;
    await Bun.sleep(Math.min(Math.max(1, milliseconds / 8), delayMillisecondsMax));
    if (isDone()) return;
  }
}

/**
 * Waits as {@link waitUntil} until a stream has done what it was given so far.
 *
 * @throws {MemoryError} `INTERNAL` where that failed, or CUDA cannot tell.
 */
export async function waitForStream(stream: NativeStream): Promise<void> {
  using event = new StreamEvent(stream);
  await waitUntil(() => event.isDone());
}
