import { invalidArgument } from "../arguments.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryFallback } from "../native/memory-symbols.ts";

/**
 * How far a request may fall that the memory it asks for cannot serve: to memory of the system heap,
 * to pinned memory, or not at all.
 */
export type MemoryFallback = "system" | "pinned" | "none";

/** Whether the value is a policy. */
export function isMemoryFallback(value: unknown): value is MemoryFallback {
  return value === "system" || value === "pinned" || value === "none";
}

/**
 * The native library's number of a policy.
 *
 * @throws {MemoryError} `INVALID_ARG` for what is none.
 */
export function fallbackNumberOf(operation: string, fallback: unknown): number {
  if (fallback === "system") return memoryFallback.MEMORY_FALLBACK_SYSTEM;
  if (fallback === "pinned") return memoryFallback.MEMORY_FALLBACK_PINNED;
  if (fallback === "none") return memoryFallback.MEMORY_FALLBACK_NONE;
  throw invalidArgument(operation, "fallback", '"system", "pinned" or "none"', fallback);
}

/** Says how far requests of the process may fall, from now on, that do not say so themselves. */
export function setDefaultFallback(fallback: MemoryFallback): void {
  memoryLibrary.memory_set_default_fallback(fallbackNumberOf("createMemoryManagers", fallback));
}
