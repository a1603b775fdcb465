// The process of one row: this pool and the CUDA runtime's allocators, which take turns.
//
//   bun measure.ts ROW EFFORT, both as JSON

import type { Pointer } from "bun:ffi";
import { tell } from "../../../harness/child/messages.ts";
import type { Finding } from "../../../harness/run/findings.ts";
import { calibrated } from "../../../harness/timing/calibrated.ts";
import { ownPairs } from "../../../harness/timing/own-pairs.ts";
import { runRounds } from "../../../harness/timing/rounds.ts";
import type { BlockSource } from "../../../harness/workloads/blocks.ts";
import { fill } from "../../../harness/workloads/replacement.ts";
import { CudaMemoryManager, getSupportedGpus, PinnedMemoryManager } from "../../../src/index.ts";
import { cudartPath } from "../../cuda.ts";
import {
  cudaHostAlloc,
  cudaMalloc,
  openCuda,
  openStreamOrdered,
  type StreamOrdered,
  UnavailableError,
} from "./cuda-calls.ts";
import { type Effort, poolByteSize, type Row, sequence } from "./rows.ts";

const row = JSON.parse(process.argv[2]!) as Row;
const effort = JSON.parse(process.argv[3]!) as Effort;
const [gpu = 0] = getSupportedGpus();

type Opener = () => BlockSource | StreamOrdered;

/** The others are compared with the first one. */
const openers: Record<Row["memoryType"], Record<string, Opener>> = {
  GPU: {
    "this pool": () => {
      CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: poolByteSize } });
      return {
        alloc: (byteSize) => CudaMemoryManager.alloc(byteSize, gpu),
        free: (address) => CudaMemoryManager.free(address as Pointer, gpu),
      };
    },
    cudaMalloc: () => cudaMalloc,
    // This is the best case: nothing waits, and nothing is given back to the driver.
    "cudaMallocAsync, keeping": () => openStreamOrdered(Infinity, false),
    cudaMallocAsync: () => openStreamOrdered(0, false),
    "cudaMallocAsync, free synchronized": () => openStreamOrdered(0, true),
  },
  CPU_PINNED: {
    "this pool": () => {
      PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: poolByteSize });
      return {
        alloc: (byteSize) => PinnedMemoryManager.alloc(byteSize).pointer,
        free: (address) => PinnedMemoryManager.free(address as Pointer),
      };
    },
    cudaHostAlloc: () => cudaHostAlloc,
  },
};

async function prepare(name: string, source: BlockSource | StreamOrdered) {
  const { oneBlockTimer, replacementTimer } = await ownPairs();
  const { workload } = row;
  if ("use" in source) source.use();
  const time =
    workload.kind === "one block"
      ? oneBlockTimer(source, workload.byteSize)
      : replacementTimer(source, fill(source, workload.liveBlockCount, sequence));
  const timePairs =
    "use" in source
      ? (pairCount: number) => {
          source.use();
          const nanoseconds = time(pairCount);
          const start = Bun.nanoseconds();
          source.synchronize(); // what the calls only queued is part of their price
          return nanoseconds + Bun.nanoseconds() - start;
        }
      : time;
  const settlingPairCount = workload.kind === "replacement" ? workload.liveBlockCount : 1;
  return calibrated({ row: row.name, name, settlingPairCount, timePairs }, effort.sliceNanoseconds);
}

openCuda(cudartPath, gpu);
const contestants = [];
for (const [name, open] of Object.entries(openers[row.memoryType])) {
  try {
    contestants.push(await prepare(name, open()));
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    tell<Finding>({ kind: "skipped", name: `${row.name}: ${name}`, reason: error.message });
  }
}
const figures = await runRounds(contestants, "ns", effort.roundCount, () => {});
for (const figure of figures.all) tell<Finding>(figure);
