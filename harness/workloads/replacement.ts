import type { BlockSource, LiveBlocks, ReplacementSequence } from "./blocks.ts";
import { logUniformByteSize, randomNumbers } from "./random.ts";

// Random replacement: a number of live blocks, of which one drawn at random is freed and a block of
// another size allocated in its place.

const byteSizeMin = 512;
const byteSizeMax = 256 * 1024;

/** The largest size that {@link replacementSequence} draws, more or less. */
export const largestReplacementByteSize = byteSizeMax;

/**
 * Draws what is replaced by what.
 *
 * @param length A power of two. The sequence is random if it is many times the live blocks.
 */
export function replacementSequence(
  liveBlockCount: number,
  length: number,
  seed: number,
): ReplacementSequence {
  const random = randomNumbers(seed);
  const places = Int32Array.from({ length }, () => Math.floor(random() * liveBlockCount));
  const byteSizes = Float64Array.from({ length }, () =>
    logUniformByteSize(random, byteSizeMin, byteSizeMax),
  );
  return { places, byteSizes };
}

/** Returns the size of a pool half as large again as the live bytes at their peak. */
export function replacementPoolByteSize(liveBlockCount: number): number {
  const meanByteSize = (byteSizeMax - byteSizeMin) / Math.log(byteSizeMax / byteSizeMin);
  // The sum of independent sizes stays within four standard deviations, each about 1.4 means.
  const peakByteSize = meanByteSize * (liveBlockCount + 4 * 1.4 * Math.sqrt(liveBlockCount));
  return Math.ceil(1.5 * peakByteSize);
}

/** Allocates the live blocks. */
export function fill(
  source: BlockSource,
  liveBlockCount: number,
  sequence: ReplacementSequence,
): LiveBlocks {
  const addresses = new Float64Array(liveBlockCount);
  for (let place = 0; place < liveBlockCount; place++) {
    addresses[place] = source.alloc(sequence.byteSizes[place % sequence.byteSizes.length]!);
    if (addresses[place] === 0) throw new Error("the allocator is full");
  }
  return { addresses, sequence, position: 0 };
}
