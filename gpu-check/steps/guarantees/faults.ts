// The failures that a real GPU can be made to have. It cannot be made too old, so the least compute
// capability is raised instead.

import assert from "node:assert/strict";
import {
  AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  getSupportedGpus,
  logged,
  messagesOf,
  outcomeOf,
  PinnedMemoryManager,
} from "../../../test/support/package.ts";
import * as cuda from "../../cuda.ts";
import { check, createUseReset, mebibyte, poolByteSize, skip } from "./check.ts";

const gpus = getSupportedGpus();
const [gpu = 0, otherGpu] = gpus;

/** Twice the memory of a GPU, which cudaMalloc has to refuse. */
const tooLarge = (deviceId: number) => 2 * cuda.memoryInfo(deviceId).totalByteSize;

/**
 * More than there are addresses on any machine: 2^48 with four levels of page tables. It is refused
 * before a page of it is touched, while a request that is only larger than the machine's memory
 * might be served page by page until the machine has none left.
 */
const pinnedTooLarge = 2 ** 52;

/** Throws unless a request for GPU memory gets memory of this other kind. */
function requireFallback(deviceId: number, expected: "CPU_PINNED" | "CPU"): void {
  using memory = new AllocatedMemory(mebibyte, "GPU", deviceId);
  assert.equal(memory.memoryType, expected);
}

function requireMessage(level: string, part: string): string {
  const message = messagesOf(level).find((text) => text.includes(part));
  assert.ok(message !== undefined, `no ${level} says "${part}": ${JSON.stringify(logged)}`);
  return message;
}

createUseReset(gpus); // so that what CUDA makes only once, and keeps, is there before

await check("a pool larger than the GPU is refused, and one that fits can follow", () => {
  const refusal = outcomeOf(() =>
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: tooLarge(gpu) } }),
  );
  assert.match(refusal, /^INTERNAL: .*cudaMalloc returned cudaErrorMemoryAllocation \(2\)/);
  assert.match(
    outcomeOf(() => CudaMemoryManager.alloc(1, gpu)),
    /^UNAVAILABLE/,
  );
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: poolByteSize } });
  assert.equal(CudaMemoryManager.stats(gpu).capacityByteSize, poolByteSize);
  CudaMemoryManager.free(CudaMemoryManager.alloc(poolByteSize, gpu), gpu);
  return refusal;
});

await check("a server starts without a pool that the GPU has no room for", () => {
  using _ = createMemoryManagers({
    cudaMemoryPoolByteSize: { [gpu]: tooLarge(gpu) },
    pinnedMemoryPoolByteSize: poolByteSize,
  });
  requireFallback(gpu, "CPU_PINNED");
  return requireMessage("error", "for the CUDA memory pool of GPU");
});

const secondFails = "where the second GPU's reservation fails, no GPU keeps one";
if (otherGpu === undefined) skip(secondFails, "this machine has one GPU that can have a pool");
else {
  await check(secondFails, () => {
    const refusal = outcomeOf(() =>
      CudaMemoryManager.create({
        memoryPoolByteSize: { [gpu]: poolByteSize, [otherGpu]: tooLarge(otherGpu) },
      }),
    );
    assert.match(refusal, /^INTERNAL: .*cudaMalloc returned cudaErrorMemoryAllocation \(2\)/);
    assert.ok(refusal.includes(`GPU ${otherGpu}`), refusal);
    for (const each of [gpu, otherGpu]) {
      assert.match(
        outcomeOf(() => CudaMemoryManager.alloc(1, each)),
        /^UNAVAILABLE/,
      );
    }
    return refusal;
  });
}

await check("a pinned pool larger than all addresses is a warning, and requests fall back", () => {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedTooLarge });
  assert.equal(PinnedMemoryManager.totalByteSize, 0);
  requireFallback(gpu, "CPU");
  return requireMessage("warn", "cudaHostAlloc returned");
});

await check("above every GPU's compute capability there is no pool, and requests fall back", () => {
  const capabilities = gpus.map((each) => cuda.computeCapability(each));
  const minSupportedComputeCapability = Math.max(...capabilities) + 1;
  assert.deepEqual(getSupportedGpus(minSupportedComputeCapability), []);
  using _ = createMemoryManagers({
    minSupportedComputeCapability,
    cudaMemoryPoolByteSize: { [gpu]: poolByteSize },
    pinnedMemoryPoolByteSize: poolByteSize,
  });
  requireFallback(gpu, "CPU_PINNED");
  return requireMessage("warn", `below ${minSupportedComputeCapability.toFixed(1)}`);
});

await check("a GPU that is not there is a warning, and requests for it fall back", () => {
  const absent = cuda.deviceCount();
  using _ = createMemoryManagers({
    cudaMemoryPoolByteSize: { [gpu]: poolByteSize, [absent]: poolByteSize },
    pinnedMemoryPoolByteSize: poolByteSize,
  });
  assert.equal(CudaMemoryManager.stats(gpu).capacityByteSize, poolByteSize);
  assert.match(
    outcomeOf(() => CudaMemoryManager.alloc(1, absent)),
    /^UNAVAILABLE/,
  );
  requireFallback(absent, "CPU_PINNED");
  return requireMessage("warn", `GPU ${absent}: there is no GPU`);
});
