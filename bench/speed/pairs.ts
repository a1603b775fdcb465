// The timed loops. Every contestant has an instance of this module to itself (see own-pairs.ts):
// in a loop that called now one allocator and now another, the compiler could not inline either.

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

/** Nanoseconds that it takes to allocate and free a block, again and again. */
export function timeOneBlock(source: BlockSource, byteSize: number, pairCount: number): number {
  const start = Bun.nanoseconds();
  for (let i = 0; i < pairCount; i++) source.free(requireAddress(source.alloc(byteSize)));
  return Bun.nanoseconds() - start;
}

/** Nanoseconds that it takes to free a block and allocate another in its place, again and again. */
export function timeReplacement(source: BlockSource, live: LiveBlocks, pairCount: number): number {
  const { addresses } = live;
  const { places, byteSizes } = live.sequence;
  const positionMask = places.length - 1;
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
}
