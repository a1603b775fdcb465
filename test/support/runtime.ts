// The CUDA runtime that the tests of this process run on, and the package's state between tests.

import { afterEach } from "bun:test";
import {
  CudaMemoryManager,
  getSupportedGpus,
  PinnedMemoryManager,
  setLogger,
} from "../../src/index.ts";

/** The GPUs of the runtime under test that can have a pool. */
export const gpus = getSupportedGpus();

/** Whether that runtime is the simulator, whose faults and delays a test can set. */
export const isSimulated =
  process.env["BUN_CUDA_MEMORY_CUDART"]?.endsWith("libcudart_sim.so") ?? false;

/** Messages of the test that runs, by level. */
export const logged = { info: [] as string[], warn: [] as string[], error: [] as string[] };

setLogger({
  info: (message) => void logged.info.push(message),
  warn: (message) => void logged.warn.push(message),
  error: (message) => void logged.error.push(message),
});

/** Leaves no manager and no message behind. */
export function resetAfterEach(): void {
  afterEach(() => {
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    for (const messages of Object.values(logged)) messages.length = 0;
  });
}
