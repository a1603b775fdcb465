import { memoryTypeNumber } from "./memory-symbols.ts";

/** Where memory lies: ordinary host memory, page-locked host memory, or a GPU's memory. */
export type MemoryType = "CPU" | "CPU_PINNED" | "GPU";

/** The memory types, in the order of the numbers that the native library gives them. */
export const memoryTypes: readonly MemoryType[] = ["CPU", "CPU_PINNED", "GPU"];

/** The native library's number of a memory type; -1 for anything else. */
export function numberOfMemoryType(memoryType: unknown): number {
  if (memoryType === "GPU") return memoryTypeNumber.MEMORY_GPU;
  if (memoryType === "CPU_PINNED") return memoryTypeNumber.MEMORY_CPU_PINNED;
  if (memoryType === "CPU") return memoryTypeNumber.MEMORY_CPU;
  return -1;
}
