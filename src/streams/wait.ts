import { type NativeStream, StreamPoint } from "../native/stream.ts";

/** A copy of some kilobytes is over by then; nothing else on the thread notices so short a wait. */
const spinNanoseconds = 10_000;

/** So long the event loop asks every time it comes round, so that a timer's millisecond is not lost. */
const eagerNanoseconds = 2_000_000;

const longestDelayMilliseconds = 100;

function nextTurn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** Lets timers, requests and everything else that waits have its turn. */
export const yieldToEventLoop = nextTurn;

/**
 * Waits for work of a GPU without blocking the event loop: CUDA tells that work is done only to
 * whoever asks.
 *
 * What is over in some microseconds is noticed at once. After two milliseconds the delays between
 * two looks grow with the time that has passed, to an eighth of it: a wait becomes at most that much
 * longer (or a timer's millisecond), and a long one costs next to no CPU time.
 *
 * @param isDone Is asked until it returns true. What it throws is thrown.
 */
export async function waitUntil(isDone: () => boolean): Promise<void> {
  const start = Bun.nanoseconds();
  let elapsed = 0;
  for (; elapsed < spinNanoseconds; elapsed = Bun.nanoseconds() - start) {
    if (isDone()) return;
  }
  for (; elapsed < eagerNanoseconds; elapsed = Bun.nanoseconds() - start) {
    await nextTurn();
    if (isDone()) return;
  }
  for (;;) {
    const milliseconds = (Bun.nanoseconds() - start) / 1e6;
    await Bun.sleep(Math.min(Math.max(1, milliseconds / 8), longestDelayMilliseconds));
    if (isDone()) return;
  }
}

/**
 * Waits as {@link waitUntil} until a stream has done what it was given so far.
 *
 * @throws {MemoryError} `INTERNAL` where that failed, or CUDA cannot tell.
 */
export async function waitForStream(stream: NativeStream): Promise<void> {
  using point = new StreamPoint(stream);
  await waitUntil(() => point.hasPassed());
}
