// Compares the state of the GPUs before and after the managers' whole life.

import assert from "node:assert/strict";
import { AllocatedMemory, CudaMemoryManager, getSupportedGpus } from "../../../src/index.ts";
import * as cuda from "../../cuda.ts";
import { check, createUseReset, poolByteSize, skip } from "./check.ts";

const gpus = getSupportedGpus();
const [gpu = 0] = gpus;

/** If each repetition kept a chunk of the driver's memory, their sum would exceed the tolerance. */
const repetitionCount = 20;

createUseReset(gpus); // so that what CUDA makes only once, and keeps, is there before

await check(`the managers are made, used and reset ${repetitionCount} times`, () => {
  for (let i = 0; i < repetitionCount; i++) createUseReset(gpus);
  return `${gpus.length} GPUs`;
});

await check("a pool takes its bytes from the GPU, and gives them back", () => {
  const free = () => cuda.memoryInfo(gpu).freeByteSize;
  const before = free();
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: poolByteSize } });
  const taken = before - free();
  // This memory is never freed: the pool's reset has to take it too.
  new AllocatedMemory(poolByteSize, "GPU", gpu);
  assert.equal(CudaMemoryManager.stats(gpu).freeByteSize, 0);
  assert.equal(before - free(), taken, "an allocation took memory beside the pool");
  assert.ok(taken >= poolByteSize, `only ${taken} bytes were taken`);
  CudaMemoryManager.reset();
  return `${taken} bytes for a pool of ${poolByteSize}`;
});

const keepsCurrent = "whichever GPU is current stays so through everything";
if (cuda.deviceCount() < 2) skip(keepsCurrent, "this machine has one GPU");
else {
  await check(keepsCurrent, () => {
    const first = cuda.currentDevice();
    for (let deviceId = 0; deviceId < cuda.deviceCount(); deviceId++) {
      cuda.makeCurrent(deviceId);
      createUseReset(gpus);
      assert.equal(cuda.currentDevice(), deviceId);
    }
    cuda.makeCurrent(first);
    return `${cuda.deviceCount()} GPUs in turn`;
  });
}
