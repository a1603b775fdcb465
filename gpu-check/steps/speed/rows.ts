// What is measured: every allocator gets the same requests.

import type { BlockWorkload, ReplacementSequence } from "../../../harness/workloads/blocks.ts";
import {
  replacementPoolByteSize,
  replacementSequence,
} from "../../../harness/workloads/replacement.ts";

export interface Row {
  name: string;
  memoryType: "GPU" | "CPU_PINNED";
  workload: BlockWorkload;
}

const liveBlockCount = 1000;

const workloads: readonly [name: string, workload: BlockWorkload][] = [
  ["one 4 KiB block", { kind: "one block", byteSize: 4096 }],
  ["one 1 MiB block", { kind: "one block", byteSize: 1024 ** 2 }],
  ["1,000 live blocks", { kind: "replacement", liveBlockCount }],
];

export const rows: readonly Row[] = (["GPU", "CPU_PINNED"] as const).flatMap((memoryType) =>
  workloads.map(([name, workload]) => ({
    name: `${name}, ${memoryType === "GPU" ? "GPU" : "pinned"}`,
    memoryType,
    workload,
  })),
);

/** The requests of a replacement, many times as many as its live blocks. */
export const sequence: ReplacementSequence = replacementSequence(liveBlockCount, 2 ** 16, 1);

export const poolByteSize = replacementPoolByteSize(liveBlockCount);

/** How much is measured. */
export interface Effort {
  roundCount: number;
  /** How long each contestant is measured in a round. */
  sliceNanoseconds: number;
}

export function effortOf({ isQuick }: { isQuick: boolean }): Effort {
  return isQuick
    ? { roundCount: 2, sliceNanoseconds: 0.2e6 }
    : { roundCount: 15, sliceNanoseconds: 25e6 };
}
