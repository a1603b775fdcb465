// Managers, and memory of a type that is certain, for the tests of what happens to their bytes.

import { expect } from "bun:test";
import {
  AllocatedMemory,
  CudaMemoryManager,
  type MemoryType,
  type MutableMemory,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { gpus } from "../support/runtime.ts";

const [gpu = 0] = gpus;

export const mebibyte = 1024 ** 2;

interface PoolByteSizes {
  cudaByteSize?: number;
  pinnedByteSize?: number;
}

/** Both managers, with pools of these sizes; a size of 0 is no pool. */
export function createManagers({
  cudaByteSize = 64 * mebibyte,
  pinnedByteSize = 64 * mebibyte,
}: PoolByteSizes = {}): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: cudaByteSize } });
}

/** Memory of exactly this type. Where there is no pinned pool, `"CPU"` is not pinned. */
export function memoryOf(type: MemoryType, byteSize: number): AllocatedMemory {
  const memory = new AllocatedMemory(byteSize, type, type === "GPU" ? gpu : 0);
  expect(memory.memoryType).toBe(type);
  return memory;
}

export function contentOf(memory: MutableMemory): Uint8Array {
  const bytes = new Uint8Array(memory.totalByteSize);
  memory.read(bytes);
  return bytes;
}

export function usedByteSize(): number {
  const pinned = PinnedMemoryManager.stats().usedByteSize;
  return CudaMemoryManager.stats(gpu).usedByteSize + pinned;
}
