import type { MutableMemory } from "bun-cuda-memory";
import type { HeldMemory } from "./held-memory.ts";
import type { Range } from "./range-set.ts";

/** A part of a memory that a thread keeps, also when the memory is freed, dropped or handed on. */
export interface HeldPart {
  readonly held: HeldMemory;
  readonly part: MutableMemory;
  /** The part that it is a part of, or `null`. */
  readonly parent: HeldPart | null;
  /** Where in the memory it lies. */
  readonly range: Range;
  isFreed: boolean;
}
