import { AllocatedMemory, MemoryAccount } from "bun-cuda-memory";
import { readFileSync } from "node:fs";
import type { TimedPairs } from "../../../harness/timing/calibrated.ts";
import { ownPairs } from "../../../harness/timing/own-pairs.ts";
import type { BlockSource, BlockWorkload } from "../../../harness/workloads/blocks.ts";
import {
  fill,
  largestReplacementByteSize,
  replacementPoolByteSize,
  replacementSequence,
} from "../../../harness/workloads/replacement.ts";
import { createPool, deviceId, poolSource } from "./pool-source.ts";
import { type ContestantName, contestants as titles, rows } from "./workloads.ts";

/** The default size of a CUDA pool: a small block is mostly measured in a pool of this size. */
const defaultPoolByteSize = 64 * 1024 ** 2;
const sequenceLength = 2 ** 20;
const seed = 1;

/** From this number of blocks on, allocators that write beside each block need much memory. */
const manyBlocks = 1_000_000;
const gigabytesForMany = 12;

/** Each module is imported only where its allocator takes part, since that compiles it. */
const openers: Record<ContestantName, (poolByteSize: number) => Promise<BlockSource>> = {
  pool: async () => poolSource,
  glibc: async () => (await import("../../peers/glibc.ts")).openGlibc(),
  boost: async (poolByteSize) => (await import("../../peers/boost.ts")).openBoost(poolByteSize),
  locked: async () => (await import("../../peers/floors.ts")).locked,
  empty: async () => (await import("../../peers/floors.ts")).empty,
};

export interface Prepared {
  timed: TimedPairs[];
  /** Who was left out, and why. */
  notes: string[];
}

/** Makes the contestants of a workload, with their live blocks. */
export async function prepareContestants(workload: BlockWorkload): Promise<Prepared> {
  const { poolByteSize, timedPairs } = plan(workload);
  createPool(poolByteSize);
  const prepared: Prepared = { timed: [], notes: [] };
  for (const name of Object.keys(titles) as ContestantName[]) {
    const opened = whyNotWith(name, workload) || (await open(name, poolByteSize));
    if (typeof opened === "string") prepared.notes.push(opened);
    else prepared.timed.push(await timedPairs(name, opened));
  }
  if (workload.kind === "one block") {
    prepared.timed.push(scopes(workload.byteSize), chargedScopes(workload.byteSize));
  }
  return prepared;
}

/** Returns the contestant's blocks, or why there are none. */
async function open(name: ContestantName, poolByteSize: number): Promise<BlockSource | string> {
  try {
    return await openers[name](poolByteSize);
  } catch (error) {
    return `${titles[name]} is left out: ${whyNot(error)}`;
  }
}

interface Plan {
  poolByteSize: number;
  timedPairs(name: ContestantName, source: BlockSource): Promise<TimedPairs>;
}

function plan(workload: BlockWorkload): Plan {
  return workload.kind === "one block"
    ? oneBlockPlan(workload.byteSize)
    : replacementPlan(workload.liveBlockCount);
}

function oneBlockPlan(byteSize: number): Plan {
  return {
    poolByteSize: defaultPoolByteSize,
    async timedPairs(name, source) {
      const { oneBlockTimer } = await ownPairs();
      return {
        row: rows.oneBlock,
        name,
        settlingPairCount: 1,
        timePairs: oneBlockTimer(source, byteSize),
      };
    },
  };
}

function replacementPlan(liveBlockCount: number): Plan {
  const sequence = replacementSequence(liveBlockCount, sequenceLength, seed);
  return {
    poolByteSize: replacementPoolByteSize(liveBlockCount),
    async timedPairs(name, source) {
      const { replacementTimer } = await ownPairs();
      // Once a block with a mapping of its own is freed, glibc makes no more mappings for blocks of
      // that size or less. Every process that runs for long is in that state, and a million
      // mappings would be refused.
      if (name === "glibc") source.free(source.alloc(largestReplacementByteSize));
      const live = fill(source, liveBlockCount, sequence);
      return {
        row: rows.replacement(liveBlockCount),
        name,
        settlingPairCount: liveBlockCount,
        timePairs: replacementTimer(source, live),
      };
    },
  };
}

function scopes(byteSize: number): TimedPairs {
  return {
    row: rows.scoped,
    name: "pool" satisfies ContestantName,
    settlingPairCount: 1,
    timePairs: (pairCount) => timeScopes(byteSize, pairCount),
  };
}

/** Returns the nanoseconds that scopes with a memory in them take. */
function timeScopes(byteSize: number, scopeCount: number): number {
  const start = Bun.nanoseconds();
  for (let i = 0; i < scopeCount; i++) {
    using memory = new AllocatedMemory(byteSize, "GPU", deviceId);
    if (memory.memoryType !== "GPU") throw new Error("the pool is full");
  }
  return Bun.nanoseconds() - start;
}

function chargedScopes(byteSize: number): TimedPairs {
  const account = MemoryAccount.of("bench");
  return {
    row: rows.charged,
    name: "pool" satisfies ContestantName,
    settlingPairCount: 1,
    timePairs: (pairCount) => timeChargedScopes(byteSize, pairCount, account),
  };
}

/** The same for memory that is charged to an account. */
function timeChargedScopes(byteSize: number, scopeCount: number, account: MemoryAccount): number {
  const start = Bun.nanoseconds();
  for (let i = 0; i < scopeCount; i++) {
    using memory = new AllocatedMemory(byteSize, "GPU", deviceId, { account });
    if (memory.memoryType !== "GPU") throw new Error("the pool is full");
  }
  return Bun.nanoseconds() - start;
}

/** Returns why a contestant takes no part, or `""`. */
function whyNotWith(name: ContestantName, workload: BlockWorkload): string {
  if (workload.kind === "one block" || workload.liveBlockCount < manyBlocks) return "";
  const where = `${titles[name]} at ${rows.replacement(workload.liveBlockCount)} is left out`;
  if (name === "boost") return `${where}, since it writes to a page of every block.`;
  if (name === "glibc" && availableByteSize() < gigabytesForMany * 1e9) {
    return `${where}, since it writes beside every block and has no ${gigabytesForMany} GB here.`;
  }
  return "";
}

function availableByteSize(): number {
  const match = /^MemAvailable: *(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"));
  return Number(match?.[1] ?? 0) * 1024;
}

function whyNot(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.includes("boost/interprocess")
    ? "its headers are not installed (Debian's package libboost-dev)."
    : message.split("\n").slice(0, 3).join(" ");
}
