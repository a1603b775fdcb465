// The timed loops. Every contestant has an instance of this module to itself (see own-pairs.ts), and
// makes one timer with it: in a loop that called now one allocator and now another, the compiler
// could not inline either, and what is made once is a constant to it. Finding the arrays anew after
// every call took 5 ns of a pair.

/** Something that hands out memory by address; 0 where it is full. */
export interface BlockSource {
  alloc(byteSize: number): number;
  free(address: number): void;
}

/** What to replace by what, prepared so that the timed loop draws no random numbers. */
export interface ReplacementSequence {
  /** Which of the live blocks is replaced next. The length of both is a power of two. */
  places: Int32Array;
  byteSizes: Float64Array;
}

/** Live blocks that are replaced one by one. */
export interface LiveBlocks {
  addresses: Float64Array;
  sequence: ReplacementSequence;
  /** Where the sequence goes on. */
  position: number;
}

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
