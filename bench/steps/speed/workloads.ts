// What is measured, and who takes part.

import type { BlockWorkload } from "../../../harness/workloads/blocks.ts";

/** Contestants, in the order of the table's columns. */
export const contestants = {
  pool: "this pool",
  glibc: "glibc",
  boost: "Boost",
  locked: "empty + lock",
  empty: "empty",
} as const;

export type ContestantName = keyof typeof contestants;

/** The rows of the table. */
export const rows = {
  oneBlock: "one 4 KiB block",
  scoped: "using AllocatedMemory",
  charged: "the same, with an account",
  replacement: (liveBlockCount: number) => `${liveBlockCount.toLocaleString("en")} live`,
} as const;

/** What the process of a workload has to do. */
export interface WorkloadOrder {
  workload: BlockWorkload;
  /** How long a contestant is measured in a round. */
  sliceNanoseconds: number;
}

/** What the process says: once that it is ready, then a round each time it is asked for one. */
export type WorkloadAnswer =
  { kind: "ready"; notes: string[] } | { kind: "round"; values: RoundValue[] };

/** What a contestant was measured at in one round. */
export interface RoundValue {
  row: string;
  contestant: string;
  nanosecondsPerPair: number;
}
