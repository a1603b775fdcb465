import { CudaMemoryManager, getSupportedGpus } from "bun-cuda-memory";
import type { Engine } from "./engine.ts";
import { GpuEngine } from "./gpu-engine.ts";
import { HostEngine } from "./host-engine.ts";

/** The lowest GPU that has a pool. */
function gpuWithPool(): number | undefined {
  return getSupportedGpus(0).find((deviceId) => {
    try {
      return CudaMemoryManager.stats(deviceId).capacityByteSize > 0;
    } catch {
      return false; // none
    }
  });
}

/** The engine for this machine. The memory managers must have been made. */
export function chooseEngine(): Engine {
  const deviceId = gpuWithPool();
  if (deviceId === undefined) return new HostEngine(null, "no GPU has a pool");
  try {
    return new GpuEngine(deviceId);
  } catch (error) {
    // A simulated GPU, for one, has memory but runs nothing.
    return new HostEngine(deviceId, `GPU ${deviceId} runs no kernel: ${(error as Error).message}`);
  }
}
