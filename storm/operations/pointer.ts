import type { Pointer } from "bun:ffi";
import { CudaMemoryManager, type MemoryErrorCode, PinnedMemoryManager } from "bun-cuda-memory";
import { pointerCountMax, type PointerRecord } from "../events.ts";
import { StormFailure } from "../failure.ts";
import { gpus, type RoundPlan } from "../round.ts";
import type { StormThread } from "../thread.ts";
import type { Operation } from "./operation.ts";

// A manager's pointer knows nothing of resets: after one it may be somebody else's memory.
const isPossible = (round: RoundPlan) => !round.hasResets;

function allocatePointer(byteSize: number, deviceId: number): Pointer {
  if (deviceId >= 0) return CudaMemoryManager.alloc(byteSize, deviceId);
  return PinnedMemoryManager.alloc(byteSize).pointer;
}

function freePointer(address: number, deviceId: number): void {
  if (deviceId >= 0) CudaMemoryManager.free(address as Pointer, deviceId);
  else PinnedMemoryManager.free(address as Pointer);
}

/** A pool that a round has no memory for is not there; neither is one that a fault has prevented. */
const refusals: readonly MemoryErrorCode[] = ["OUT_OF_MEMORY", "UNAVAILABLE"];

function pointerAt(thread: StormThread, slot: number): PointerRecord | null {
  return thread.board.pointersOf(thread.index)[slot]!;
}

function give(thread: StormThread, slot: number, record: PointerRecord): void {
  const { board, index } = thread;
  // Whoever is ended here may or may not have given it back.
  board.setPointer(index, slot, { ...record, address: 0 });
  thread.attempt([], [], () => freePointer(record.address, record.deviceId));
  board.setPointer(index, slot, null);
}

export const pointerAlloc: Operation = {
  name: "pointer-alloc",
  weight: 3,
  isPossible,
  run: (thread) => {
    const { random, board, index } = thread;
    const slot = random.below(pointerCountMax);
    const deviceId = random.pick([-1, ...gpus]);
    const byteSize = random.byteSize(1, 65536);
    thread.begin(`p${slot} = alloc(${byteSize}, ${deviceId})`);
    const before = pointerAt(thread, slot);
    if (before?.address === 0) return; // lost with the thread's former life
    if (before !== null) give(thread, slot, before);
    board.setPointer(index, slot, { address: 0, byteSize, deviceId });
    const { value, error } = thread.attempt(refusals, [], () =>
      allocatePointer(byteSize, deviceId),
    );
    board.setPointer(index, slot, error === null ? { address: value, byteSize, deviceId } : null);
    // The system heap aligns what is not pinned as it likes.
    if (error === null && deviceId >= 0 && value % 512 !== 0) {
      throw new StormFailure("an address that is a multiple of 512", `0x${value.toString(16)}`);
    }
  },
};

export const pointerFree: Operation = {
  name: "pointer-free",
  weight: 2,
  isPossible,
  run: (thread) => {
    const slot = thread.random.below(pointerCountMax);
    thread.begin(`free(p${slot})`);
    const record = pointerAt(thread, slot);
    if (record !== null && record.address !== 0) give(thread, slot, record);
  },
};

/** Pointers that are nobody's allocation. */
export const wrongPointer: Operation = {
  name: "wrong-pointer",
  weight: 1,
  isPossible,
  run: (thread) => {
    const { random } = thread;
    const slot = random.below(pointerCountMax);
    const offset = random.pick([1, 256, 512]);
    thread.begin(`free(p${slot} + ${offset})`);
    const record = pointerAt(thread, slot);
    if (record === null || record.address === 0) return;
    // Another block may begin behind the last granule.
    const wrong = record.address + (record.byteSize > 512 ? offset : Math.min(offset, 256));
    thread.refused(["INVALID_ARG"], [], () => freePointer(wrong, record.deviceId));
  },
};
