import { dlopen } from "bun:ffi";
import { compileLibrary } from "../../harness/native/compile.ts";
import { allocSymbol, freeSymbol } from "../../harness/timing/block-symbols.ts";
import type { BlockSource } from "../../harness/workloads/blocks.ts";

const { empty_alloc, empty_free, locked_alloc, locked_free } = dlopen(
  compileLibrary("floors", ["bench/peers/floors.c"]),
  {
    empty_alloc: allocSymbol,
    empty_free: freeSymbol,
    locked_alloc: allocSymbol,
    locked_free: freeSymbol,
  },
).symbols;

/** An allocator that does nothing. */
export const empty: BlockSource = {
  alloc: (byteSize) => empty_alloc(byteSize, 0),
  free(address) {
    empty_free(address, 0);
  },
};

/** An allocator that only takes and releases a lock in each call. */
export const locked: BlockSource = {
  alloc: (byteSize) => locked_alloc(byteSize, 0),
  free(address) {
    locked_free(address, 0);
  },
};
