/**
 * Makes a generator of numbers from 0 to below 1, mulberry32. The same seed gives the same numbers.
 */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws a whole number of bytes, as likely between 1 and 2 KiB as between 1 and 2 MiB. */
export function logUniformByteSize(random: () => number, min: number, max: number): number {
  return Math.floor(min * (max / min) ** random());
}
