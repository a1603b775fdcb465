import { fileURLToPath } from "node:url";
import { AskedChild } from "../../../harness/child/asked-child.ts";
import { limitOf, type LimitCheck } from "../../../harness/run/findings.ts";
import { formatFigures, formatNote } from "../../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../../harness/text/table.ts";
import { Figures } from "../../../harness/timing/figures.ts";
import { orderOfRound } from "../../../harness/timing/rounds.ts";
import { median, ratios } from "../../../harness/timing/statistics.ts";
import type { BlockWorkload } from "../../../harness/workloads/blocks.ts";
import type { BenchContext, BenchStep } from "../../context.ts";
import {
  type ContestantName,
  contestants,
  rows,
  type WorkloadAnswer,
  type WorkloadOrder,
} from "./workloads.ts";

// Nanoseconds that a pair of an allocation and a free takes, called from TypeScript.

const programPath = fileURLToPath(new URL("workload-process.ts", import.meta.url));

const liveBlockCounts = [1000, 10_000, 50_000, 1_000_000];

function workloadsOf(isQuick: boolean): BlockWorkload[] {
  const counts = isQuick ? liveBlockCounts.slice(0, 2) : liveBlockCounts;
  return [
    { kind: "one block", byteSize: 4096 },
    ...counts.map((liveBlockCount): BlockWorkload => ({ kind: "replacement", liveBlockCount })),
  ];
}

interface Measured {
  figures: Figures;
  notes: string[];
}

type WorkloadChild = AskedChild<"round", WorkloadAnswer>;

function startWorkload(order: WorkloadOrder): WorkloadChild {
  return new AskedChild("the process of a workload", {
    argv: [process.execPath, programPath, JSON.stringify(order)],
  });
}

/** Runs each workload once in a round. In its process the contestants take turns. */
async function measure(
  workloads: readonly BlockWorkload[],
  { options: { roundCount = 15, isQuick }, progress }: BenchContext,
): Promise<Measured> {
  const measured: Measured = { figures: new Figures("ns per pair"), notes: [] };
  using stack = new DisposableStack();
  const children: WorkloadChild[] = [];
  for (const [index, workload] of workloads.entries()) {
    progress.showShare("speed: preparing workload", index, workloads.length);
    const child = stack.use(startWorkload({ workload, sliceNanoseconds: isQuick ? 0.2e6 : 25e6 }));
    measured.notes.push(...(await child.next("ready")).notes);
    children.push(child);
  }
  for (let round = 0; round < roundCount; round++) {
    progress.showShare("speed: round", round, roundCount);
    for (const child of orderOfRound(children, round)) {
      const { values } = await child.ask("round", "round");
      for (const { row, contestant, nanosecondsPerPair } of values) {
        measured.figures.add(row, contestant, nanosecondsPerPair);
      }
    }
  }
  measured.notes = [...new Set(measured.notes)]; // a peer that is absent is so everywhere
  return measured;
}

function limitsOf(figures: Figures): LimitCheck[] {
  const roundsOf = (row: string, name: ContestantName) => figures.roundsOf(row, name);
  const toGlibc = (row: string) => median(ratios(roundsOf(row, "pool"), roundsOf(row, "glibc")));
  const nanosecondsMore = (row: string, other: string) =>
    median(roundsOf(row, "pool").map((value, round) => value - roundsOf(other, "pool")[round]!));
  const toRow = (row: string, other: string) =>
    median(ratios(roundsOf(row, "pool"), roundsOf(other, "pool")));
  const { oneBlock, scoped, charged, replacement } = rows;
  return [
    limitOf("one 4 KiB block / glibc", toGlibc(oneBlock), 1),
    limitOf("10,000 live / glibc", toGlibc(replacement(10_000)), 0.14),
    limitOf("50,000 live / glibc", toGlibc(replacement(50_000)), 0.1),
    limitOf("50,000 live / 1,000 live", toRow(replacement(50_000), replacement(1000)), 2.5),
    limitOf("using AllocatedMemory / one 4 KiB block", toRow(scoped, oneBlock), 2.75),
    limitOf("with an account / without, ns more", nanosecondsMore(charged, scoped), 25),
  ];
}

const columns: readonly Column[] = [
  { title: "ns per pair", width: 21, align: "left" },
  ...Object.values(contestants).map((title): Column => ({ title, width: 12, align: "right" })),
];

function table(figures: Figures, workloads: readonly BlockWorkload[]): string {
  const names = Object.keys(contestants) as ContestantName[];
  const titles = workloads.flatMap((workload) =>
    workload.kind === "one block"
      ? [rows.oneBlock, rows.scoped, rows.charged]
      : rows.replacement(workload.liveBlockCount),
  );
  const lines = titles.map((title) => {
    const cells = names.map((name) => formatFigures(figures.roundsOf(title, name)));
    return tableLine(columns, [title, ...cells]);
  });
  return [tableHead(columns), ...lines].join("\n");
}

const explanation =
  "Medians of the rounds, ± half the distance from p10 to p90. Live: as many blocks, log-uniform " +
  "512 B-256 KiB, one drawn at random replaced by another, in a pool 1.5 times their bytes. " +
  "This pool is called through CudaMemoryManager, which checks its arguments; everything else " +
  "through a bare bun:ffi function that takes and returns doubles, the cheapest types there are. " +
  "Empty does nothing there; + lock takes and releases a lock in each call.";

export const speed: BenchStep = {
  name: "speed",
  title: "Speed, from TypeScript",
  async run(context) {
    const workloads = workloadsOf(context.options.isQuick);
    const { figures, notes } = await measure(workloads, context);
    const notesText = [explanation, ...notes].map((note) => formatNote(note));
    context.print([table(figures, workloads), ...notesText].join("\n\n"));
    context.add(...figures.all, ...limitsOf(figures));
    return { notes };
  },
};
