import { dlopen } from "bun:ffi";
import { compileLibrary } from "../../harness/native/compile.ts";
import { allocSymbol, freeSymbol } from "../../harness/timing/block-symbols.ts";
import type { BlockSource } from "../../harness/workloads/blocks.ts";

const { glibc_open, glibc_alloc, glibc_free } = dlopen(
  compileLibrary("glibc", ["bench/peers/glibc.c"]),
  {
    glibc_open: { args: [], returns: "i32" },
    glibc_alloc: allocSymbol,
    glibc_free: freeSymbol,
  },
).symbols;

const source: BlockSource = {
  alloc: (byteSize) => glibc_alloc(byteSize, 0),
  free(address) {
    glibc_free(address, 0);
  },
};

/**
 * Opens the process's own heap.
 *
 * @throws {Error} where the C library is not glibc.
 */
export function openGlibc(): BlockSource {
  if (glibc_open() === 0) throw new Error("the C library is not glibc");
  return source;
}
