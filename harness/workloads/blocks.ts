// Blocks that are allocated and freed, from any allocator.

/** An allocator that hands out blocks by address. The address 0 says that it is full. */
export interface BlockSource {
  alloc(byteSize: number): number;
  free(address: number): void;
}

/** The work that an allocator is measured at. */
export type BlockWorkload =
  /** One block that is allocated and freed, again and again. */
  | { kind: "one block"; byteSize: number }
  /** Live blocks, of which one drawn at random is freed and another allocated in its place. */
  | { kind: "replacement"; liveBlockCount: number };

/** What to replace by what, drawn beforehand so that a timed loop draws no random numbers. */
export interface ReplacementSequence {
  /**
   * Which of the live blocks is replaced next. The length of both arrays is the same power of two.
   */
  places: Int32Array;
  byteSizes: Float64Array;
}

/** Live blocks that are replaced one by one. */
export interface LiveBlocks {
  addresses: Float64Array;
  sequence: ReplacementSequence;
  /** Where in the sequence the next replacement is. */
  position: number;
}
