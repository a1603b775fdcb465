import { CudaMemoryManager, PinnedMemoryManager } from "bun-cuda-memory";
import { drawPools } from "../round.ts";
import type { Operation } from "./operation.ts";

/** Takes all memory of a kind away, whoever has it. */
export const reset: Operation = {
  name: "reset",
  weight: 0.6,
  isPossible: (round) => round.hasResets,
  run: (thread) => {
    const isCuda = thread.random.chance(0.5);
    const manager = isCuda ? "cuda" : "pinned";
    thread.begin(`reset of ${manager} memory`);
    thread.board.countResetBegun(manager);
    const { error } = thread.attempt(thread.cudaCodes, [], () =>
      isCuda ? CudaMemoryManager.reset() : PinnedMemoryManager.reset(),
    );
    if (error === null) thread.board.countResetEnded(manager);
  },
};

/** Makes a manager, or, where there is one, changes nothing. */
export const create: Operation = {
  name: "create",
  weight: 1.5,
  run: (thread) => {
    const isCuda = thread.random.chance(0.5);
    const { cuda, pinnedByteSize } = drawPools(thread.random);
    thread.begin(`create ${isCuda ? JSON.stringify(cuda) : `pinned ${pinnedByteSize}`}`);
    // Another manager may have taken the GPU's memory: those of a round fit beside each other.
    thread.attempt(thread.cudaCodes, [], () =>
      isCuda
        ? CudaMemoryManager.create({ memoryPoolByteSize: cuda })
        : PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize }),
    );
  },
};
