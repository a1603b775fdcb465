import { CudaMemoryManager, type PoolStats, PinnedMemoryManager } from "bun-cuda-memory";
import { StormFailure } from "../failure.ts";
import { gpusWithPools } from "../round.ts";
import type { Operation } from "./operation.ts";

/** @throws {StormFailure} Where the figures cannot be those of one moment. */
export function checkStats(name: string, stats: PoolStats): void {
  const { capacityByteSize, usedByteSize, peakUsedByteSize, freeByteSize } = stats;
  const { largestFreeByteSize, allocationCount } = stats;
  const isRight =
    usedByteSize + freeByteSize === capacityByteSize &&
    usedByteSize <= peakUsedByteSize &&
    peakUsedByteSize <= capacityByteSize &&
    largestFreeByteSize <= freeByteSize &&
    usedByteSize >= 512 * allocationCount &&
    usedByteSize > 0 === allocationCount > 0;
  if (isRight) return;
  throw new StormFailure(`statistics of ${name} that agree`, JSON.stringify(stats));
}

export const statistics: Operation = {
  name: "stats",
  weight: 3,
  run: (thread) => {
    const deviceId = thread.random.pick([-1, ...gpusWithPools]);
    thread.begin(`stats(${deviceId})`);
    // There may be no pool: a round can do without, and resets come at any time.
    const { value: stats } = thread.attempt(["UNAVAILABLE", ...thread.cudaCodes], [], () =>
      deviceId < 0 ? PinnedMemoryManager.stats() : CudaMemoryManager.stats(deviceId),
    );
    if (stats !== null) checkStats(deviceId < 0 ? "pinned memory" : `GPU ${deviceId}`, stats);
  },
};
