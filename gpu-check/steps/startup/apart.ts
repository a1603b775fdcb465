// A process that times the parts of a server's start one after the other. CUDA does what it does
// once in a process in the first call of its kind. The pools therefore come after the contexts, and
// show what they take alone.

import { tell } from "../../../harness/child/messages.ts";
import { CudaMemoryManager, getSupportedGpus, PinnedMemoryManager } from "../../../src/index.ts";
import { defaultCudaMemoryPoolByteSize } from "../../../src/managers/memory-managers.ts";
import { defaultPinnedMemoryPoolByteSize } from "../../../src/managers/pinned-memory-manager.ts";
import { cudart } from "../../../src/native/cudart.ts";
import { requireDefaultPools } from "./default-pools.ts";
import type { StartMessage } from "./start-message.ts";

const milliseconds: Record<string, number> = {};

function time<Result>(name: string, action: () => Result): Result {
  const start = performance.now();
  const result = action();
  milliseconds[name] = performance.now() - start;
  return result;
}

time("finding the CUDA runtime", () => cudart());
const cuda = await import("../../cuda.ts"); // which finds the runtime when it is imported
const gpus = time("getSupportedGpus()", () => getSupportedGpus());
time("a context on each GPU", () => {
  for (const gpu of gpus) {
    cuda.makeCurrent(gpu);
    cuda.requireSuccess(cuda.runtime.cudaFree(null), "make a context");
  }
  cuda.makeCurrent(0);
});
time("PinnedMemoryManager.create()", () => PinnedMemoryManager.create());
time("CudaMemoryManager.create()", () =>
  CudaMemoryManager.create({
    memoryPoolByteSize: Object.fromEntries(gpus.map((gpu) => [gpu, defaultCudaMemoryPoolByteSize])),
  }),
);
requireDefaultPools();
time("cudaHostAlloc of 256 MiB alone", () => {
  const pointer = new BigUint64Array(new ArrayBuffer(8));
  const portable = 1; // as the package asks for it
  const error = cuda.runtime.cudaHostAlloc(pointer, defaultPinnedMemoryPoolByteSize, portable);
  cuda.requireSuccess(error, "pin memory");
});
tell<StartMessage>({ kind: "start", milliseconds });
