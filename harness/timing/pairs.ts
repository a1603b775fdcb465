// The timed loops. Every contestant has an instance of this module to itself (see own-pairs.ts), and
// makes one timer with it: in a loop that called now one allocator and now another, the compiler
// could not inline either, and what is made once is a constant to it. Finding the arrays anew after
// every call took 5 ns of a pair.

import type { BlockSource, LiveBlocks } from "../workloads/blocks.ts";

function requireAddress(address: number): number {
  if (address === 0) throw new Error("the allocator is full");
  return address;
}

/** Runs so many pairs and returns the nanoseconds that they took. */
export type PairTimer = (pairCount: number) => number;

/** Of allocating and freeing a block, again and again. */
export function oneBlockTimer(source: BlockSource, byteSize: number): PairTimer {
  return (pairCount) => {
    const start = Bun.nanoseconds();
    for (let i = 0; i < pairCount; i++) source.free(requireAddress(source.alloc(byteSize)));
    return Bun.nanoseconds() - start;
  };
}

/** Of freeing a block and allocating another in its place, again and again. */
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
