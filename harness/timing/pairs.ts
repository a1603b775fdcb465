// The timed loops. Every contestant has an instance of this module to itself (see own-pairs.ts) and
// makes one timer with it. In a loop that called different allocators the compiler could inline
// none of them, and what is made only once is a constant to it. Finding the arrays anew after every
// call took 5 ns of a pair.

import type { BlockSource, LiveBlocks } from "../workloads/blocks.ts";

function requireAddress(address: number): number {
  if (address === 0) throw new Error("the allocator is full");
  return address;
}

/** Runs this many pairs and returns the nanoseconds that they took. */
export type PairTimer = (pairCount: number) => number;

/** Makes a timer of allocating and freeing a block, again and again. */
export function oneBlockTimer(source: BlockSource, byteSize: number): PairTimer {
  return (pairCount) => {
    const start = Bun.nanoseconds();
    for (let i = 0; i < pairCount; i++) source.free(requireAddress(source.alloc(byteSize)));
    return Bun.nanoseconds() - start;
  };
}

/** Makes a timer of freeing a block and allocating another in its place, again and again. */
export function replacementTimer(source: BlockSource, live: LiveBlocks): PairTimer {
  const { addresses } = live;
  const { places, byteSizes } = live.sequence;
  const positionMask = places.length - 1;
  return (pairCount) => {
    let position = live.position;
    const start = Bun.nanoseconds();
    for (let i = 0; i < pairCount; i++) {
      const place = places[position]!;
      source.free(addresses[place]!);
      addresses[place] = requireAddress(source.alloc(byteSizes[position]!));
      position = (position + 1) & positionMask;
    }
    const nanoseconds = Bun.nanoseconds() - start;
    live.position = position;
    return nanoseconds;
  };
}
