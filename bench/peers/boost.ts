import { dlopen } from "bun:ffi";
import { compileLibrary } from "../../harness/native/compile.ts";
import { allocSymbol, freeSymbol } from "../../harness/timing/block-symbols.ts";
import type { BlockSource } from "../../harness/workloads/blocks.ts";

const { boost_create, boost_alloc, boost_free } = dlopen(
  compileLibrary("boost", ["bench/peers/boost.cpp"]),
  {
    boost_create: { args: ["f64"], returns: "i32" },
    boost_alloc: allocSymbol,
    boost_free: freeSymbol,
  },
).symbols;

const source: BlockSource = {
  alloc: (byteSize) => boost_alloc(byteSize, 0),
  free(address) {
    boost_free(address, 0);
  },
};

/** Makes the pool, of which a process can have one. */
export function openBoost(poolByteSize: number): BlockSource {
  if (boost_create(poolByteSize) === 0) throw new Error("no address space for Boost's buffer");
  return source;
}
