import { checkNotAborted, untilAborted } from "../abort-signal.ts";
import { nanoseconds, pause, yieldToEventLoop } from "../native/event-loop.ts";
import { type NativeStream, StreamEvent } from "../native/stream.ts";

/**
 * How long a wait asks without a pause. A copy of some kilobytes is over by then, and so short a
 * wait delays nothing else on the thread noticeably.
 */
const spinNanoseconds = 10_000;

/** The most questions without a pause, since the clock may stand still. */
const spinCountMax = 200;

/**
 * How long a wait asks in each turn of the event loop. Its later
 * pauses are timers, which take a millisecond at least.
 */
const eagerNanoseconds = 2_000_000;

/** The most questions in turns of the event loop. */
const eagerCountMax = 5_000;

/** The longest pause between two questions. */
const delayMillisecondsMax = 100;

/**
 * Waits for work of a GPU without blocking the event loop. CUDA says that work is done only when it
 * is asked.
 *
 * What is over in some microseconds is noticed at once. After two milliseconds the pauses between
 * two questions grow with the time that has passed, to an eighth of it: a wait becomes at most that
 * much longer (or a timer's millisecond), and a long one costs next to no CPU time.
 *
 * @param isDone Is asked until it returns true, or throws, which rejects the promise.
 * @param pauseFor Waits for some milliseconds.
 */
export async function waitUntil(isDone: () => boolean, pauseFor = pause): Promise<void> {
  const start = nanoseconds();
  let elapsed = 0;
  for (let count = 0; elapsed < spinNanoseconds && count < spinCountMax; count++) {
    if (isDone()) return;
    elapsed = nanoseconds() - start;
  }
  // At least one turn, however slow the questions were: what comes after it has a stack of its own.
  let turnCount = 0;
  do {
    await yieldToEventLoop();
    if (isDone()) return;
    elapsed = nanoseconds() - start;
  } while (elapsed < eagerNanoseconds && ++turnCount < eagerCountMax);
  for (let paused = 0; ;) {
    const milliseconds = Math.max(paused, (nanoseconds() - start) / 1e6);
    const next = Math.min(Math.max(1, milliseconds / 8), delayMillisecondsMax);
    await pauseFor(next);
    if (isDone()) return;
    paused += next;
  }
}

/**
 * Waits as {@link waitUntil}, or rejects with the signal's reason as soon as it is aborted: `isDone` is
 * asked no more then.
 */
export async function waitUntilOrAborted(
  isDone: () => boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (signal === undefined) return waitUntil(isDone);
  checkNotAborted(signal);
  const wait = () => waitUntil(() => signal.aborted || isDone());
  await untilAborted(signal, wait, () => {});
  checkNotAborted(signal);
}

/**
 * Waits as {@link waitUntilOrAborted} until a stream has done what it was given so far.
 *
 * @throws {MemoryError} `INTERNAL` where that failed, or CUDA cannot tell.
 */
export async function waitForStream(stream: NativeStream, signal?: AbortSignal): Promise<void> {
  using event = new StreamEvent(stream);
  await waitUntilOrAborted(() => event.isDone(), signal);
}
