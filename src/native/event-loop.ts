// Time and turns of the event loop, which tests like to replace: fake timers put functions of their
// own in the place of global ones, or stop the runtime's timers and its clock. What is here goes on.

/** Taken when the package is loaded: what is put in their place afterwards does not count. */
const { nanoseconds, sleep } = Bun;
const { waitAsync } = Atomics;
const { setImmediate } = globalThis;

export { nanoseconds };

const isNative = (value: object) =>
  Function.prototype.toString.call(value).includes("[native code]");

/** Somebody else's functions, from before the package was loaded, are not relied on. */
const hasSetImmediate = isNative(setImmediate);
const hasSleep = isNative(sleep);

/** Nobody ever notifies those who wait for this to change: they wait until their time is over. */
const cell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** A shorter wait is none: it goes on in the same turn of the event loop. */
const shortestMilliseconds = 0.01;

/** Resolves in the next turn of the event loop, after timers, requests and all else that waits. */
export function yieldToEventLoop(): Promise<void> {
  if (!hasSetImmediate) return pause(0);
  return new Promise((resolve) => void setImmediate(resolve));
}

/**
 * Resolves after so many milliseconds. The process does not end before.
 *
 * The runtime's fake timers stop its sleep, but not a wait for memory to change.
 */
export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    void pauseOfBackground(milliseconds).then(resolve);
    if (hasSleep) void sleep(milliseconds).then(resolve);
  });
}

/** As {@link pause}, but does not keep the process from ending. */
export async function pauseOfBackground(milliseconds: number): Promise<void> {
  await waitAsync(cell, 0, 0, Math.max(milliseconds, shortestMilliseconds)).value;
}
