// Random calls of both managers' pools, held against a model after each. A failure prints its seed
// and its path; to run exactly that one again:
//
//   POOL_MODEL_SEED=... POOL_MODEL_PATH=... bun test random-pool-calls
//
// POOL_MODEL_RUNS=100000 searches for longer, with a new seed.
//
// Any CUDA runtime would do, but these tests need fast-check, and nothing is installed where
// test/behaviour runs on a real GPU.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { CudaMemoryManager, PinnedMemoryManager } from "../../src/index.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import {
  CheckedPool,
  granuleByteSize,
  type PoolCalls,
  type Step,
  type WrongFree,
  wrongFrees,
} from "./pool-model.ts";

resetAfterEach();

const [gpu = 0] = gpus;

const cudaPool: PoolCalls = {
  name: "CudaMemoryManager",
  create(byteSize) {
    CudaMemoryManager.reset();
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: byteSize } });
  },
  alloc: (byteSize) => CudaMemoryManager.alloc(byteSize, gpu),
  free: (pointer) => CudaMemoryManager.free(pointer, gpu),
  stats: () => CudaMemoryManager.stats(gpu),
};

const pinnedPool: PoolCalls = {
  name: "PinnedMemoryManager",
  create(byteSize) {
    PinnedMemoryManager.reset();
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: byteSize });
  },
  alloc: (byteSize) =>
    PinnedMemoryManager.alloc(byteSize, { allowNonpinnedFallback: false }).pointer,
  free: (pointer) => PinnedMemoryManager.free(pointer),
  stats: () => PinnedMemoryManager.stats(),
};

// ---- Random sequences

/** Small numbers are as likely as large ones. */
function logUniform(max: number): fc.Arbitrary<number> {
  return fc
    .integer({ min: 0, max: Math.floor(Math.log2(max)) })
    .chain((bits) => fc.integer({ min: 2 ** bits, max: Math.min(max, 2 ** (bits + 1) - 1) }));
}

/** Capacities in granules, from one that is a single block to some hundred thousands. */
const granuleCounts = fc.oneof(
  fc.integer({ min: 1, max: 40 }),
  fc.integer({ min: 41, max: 400 }),
  logUniform(2 ** 18),
);

/** Powers of two with some 64ths added, give or take one: the likely edges of size classes. */
const classEdges = fc
  .tuple(
    fc.integer({ min: 4, max: 14 }),
    fc.integer({ min: 0, max: 63 }),
    fc.integer({ min: -1, max: 1 }),
  )
  .map(
    ([exponent, part, beside]) => 2 ** exponent + Math.floor((part * 2 ** exponent) / 64) + beside,
  );

/** Most sizes are small; otherwise a pool would never hold more than a few blocks. */
const sizesInGranules = fc.oneof(
  { weight: 16, arbitrary: fc.integer({ min: 1, max: 8 }) },
  { weight: 3, arbitrary: logUniform(2 ** 14) },
  { weight: 1, arbitrary: classEdges },
);

const byteSizes = fc.oneof(
  {
    weight: 30,
    arbitrary: fc
      .tuple(sizesInGranules, fc.constantFrom(0, 0, 1, -1, 1 - granuleByteSize))
      .map(([count, beside]) => count * granuleByteSize + beside),
  },
  { weight: 1, arbitrary: fc.constantFrom(1, 2 ** 31, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER) },
);

const picks = fc.nat(2 ** 30);

/** `anySize` and `alike` are the weights of the two kinds of requests. */
function stepsWith(anySize: number, alike: number): fc.Arbitrary<Step> {
  return fc.oneof(
    {
      weight: anySize,
      arbitrary: byteSizes.map((byteSize): Step => ({ call: "alloc", byteSize })),
    },
    { weight: alike, arbitrary: picks.map((pick): Step => ({ call: "allocAlike", pick })) },
    { weight: 1, arbitrary: fc.constant<Step>({ call: "allocLargest" }) },
    { weight: 30, arbitrary: picks.map((pick): Step => ({ call: "free", pick })) },
    {
      weight: 9,
      arbitrary: fc
        .tuple(fc.constantFrom<WrongFree[]>(...wrongFrees), picks)
        .map(([wrong, pick]): Step => ({ call: "freeWrong", wrong, pick })),
    },
  );
}

const sequenceSize = { maxLength: 200, size: "max" } as const;
const stepSequences = fc.oneof(
  fc.array(stepsWith(58, 2), sequenceSize),
  fc.array(stepsWith(2, 58), sequenceSize),
);

const sequences = fc.record({
  granuleCount: granuleCounts,
  // Watched: the statistics are read after every step. Probed: after every step, the largest gap is
  // requested, and a granule more.
  isWatched: fc.boolean(),
  isProbed: fc.boolean(),
  steps: stepSequences,
});

type Sequence = typeof sequences extends fc.Arbitrary<infer Value> ? Value : never;

function runSequence(pool: PoolCalls, sequence: Sequence): void {
  const checked = new CheckedPool(pool, sequence.granuleCount, sequence.isWatched);
  for (const step of sequence.steps) {
    checked.run(step);
    if (sequence.isProbed) checked.probe();
  }
  checked.expectAgreement();
  checked.probe();
  checked.freeAll();
  checked.expectAgreement();
  checked.probe();
}

// ---- The tests

const environment = process.env;
const runCount = Number(environment["POOL_MODEL_RUNS"] ?? 600);

function parameters(): fc.Parameters<unknown> {
  const seed = environment["POOL_MODEL_SEED"];
  const path = environment["POOL_MODEL_PATH"];
  return {
    numRuns: runCount,
    verbose: fc.VerbosityLevel.Verbose,
    ...(seed === undefined ? {} : { seed: Number(seed) }),
    ...(path === undefined ? {} : { path }),
  };
}

describe.each([cudaPool, pinnedPool])("the pool of $name", (pool) => {
  test("agrees with the model after every step of random sequences", () => {
    fc.assert(
      fc.property(sequences, (sequence) => runSequence(pool, sequence)),
      parameters(),
    );
  }, 3_600_000);

  test("agrees with the model after every step of one long sequence", () => {
    const [sequence] = fc.sample(
      fc.array(stepsWith(55, 5), { minLength: 12_000, maxLength: 12_000, size: "max" }),
      {
        seed: 42,
        numRuns: 1,
      },
    );
    expect(sequence).toHaveLength(12_000);
    const checked = new CheckedPool(pool, 3000, true);
    for (const [index, step] of sequence!.entries()) {
      checked.run(step);
      if (index % 100 === 0) checked.probe();
    }
    checked.freeAll();
    checked.probe();
  }, 60_000);
});
