import { CudaMemoryManager, PinnedMemoryManager } from "bun-cuda-memory";
import { StormFailure } from "../failure.ts";
import { drawPools, gpusWithPools, oldGpu, smallGpu } from "../round.ts";
import type { StormThread } from "../thread.ts";
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

/**
 * What this thread has of a GPU's pool, by name; `null` where that is nothing, for all that it knows: a
 * reset may have taken it.
 */
function livingOn(thread: StormThread, gpu: number): string | null {
  const living = [...thread.memories.all, ...thread.guests].find(
    ({ memory, isOnGpu, mayBeGone }) => isOnGpu && memory.memoryTypeId === gpu && !mayBeGone,
  );
  if (living !== undefined) return living.name;
  if (thread.round.hasResets) return null;
  const pointers = thread.board.pointersOf(thread.index);
  const pointer = pointers.find((record) => record?.deviceId === gpu && record.address !== 0);
  return pointer == null ? null : `the pointer ${pointer.address}`;
}

/** Gives a GPU a pool of another size, which it gets only while nobody has anything of its pool. */
export const resize: Operation = {
  name: "resize",
  weight: 4,
  run: (thread) => {
    const { random } = thread;
    const gpu = random.chance(0.7) ? smallGpu : random.pick(gpusWithPools);
    const byteSize = random.chance(0.2) ? 0 : random.byteSize(1, 16 << 20);
    thread.begin(`resize the pool of GPU ${gpu} to ${byteSize} bytes`);
    const before = livingOn(thread, gpu);
    // What is free of a small GPU may not be in one piece.
    const codes = gpu === smallGpu ? (["INTERNAL"] as const) : thread.cudaCodes;
    const { error } = thread.attempt(["UNAVAILABLE", ...codes], [], () =>
      CudaMemoryManager.resize(gpu, byteSize),
    );
    if (error !== null || before === null) return;
    // A reset may have taken it meanwhile.
    if (livingOn(thread, gpu) !== before) return;
    throw new StormFailure(`UNAVAILABLE: ${before} lives in the pool of GPU ${gpu}`, "no error");
  },
};

/** A pool that there cannot be. Nothing changes. */
export const resizeWrongly: Operation = {
  name: "resize-wrongly",
  weight: 0.5,
  run: (thread) => {
    const isTooLarge = thread.random.chance(0.5);
    const [gpu, byteSize] = isTooLarge ? [smallGpu, 2 ** 40] : [oldGpu, 512];
    thread.begin(`resize the pool of GPU ${gpu} to ${byteSize} bytes`);
    // Whether there is a manager, and memory of it lives, is asked first.
    const refusals = ["UNAVAILABLE", ...thread.cudaCodes] as const;
    thread.refused(isTooLarge ? ["INTERNAL", ...refusals] : refusals, [], () =>
      CudaMemoryManager.resize(gpu, byteSize),
    );
  },
};
