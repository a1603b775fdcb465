import { messagesOf } from "../../harness/child/run-program.ts";
import { compileProgram } from "../../harness/native/compile.ts";
import { poolLibraryPath, simulatorLibraryPath } from "../../harness/paths.ts";
import { limitOf, type LimitCheck } from "../../harness/run/findings.ts";
import { formatNote, formatNumber } from "../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../harness/text/table.ts";
import { median } from "../../harness/timing/statistics.ts";
import type { BenchContext, BenchStep } from "../context.ts";

// How long single calls take at worst, timed in C: a clock that TypeScript can read is too coarse.

const liveBlockCount = 50_000;
const percentiles = ["p50", "p90", "p99", "p99.9", "max"] as const;
const p999 = percentiles.indexOf("p99.9");

const timed = {
  alloc: "alloc",
  free: "free",
  lock: "empty lock + unlock",
  timer: "nothing: the timer",
} as const;

type TimedName = keyof typeof timed;

/** Nanoseconds at each percentile. */
type Percentiles = number[];

type Round = Record<TimedName, Percentiles>;

/** What latency.c says: each round, and in the end what was asked of the system heap. */
type LatencyMessage =
  { kind: "round"; round: Round } | { kind: "end"; clock: string; heapCalls: HeapCalls };

/** Calls of malloc, free, mmap, mprotect and their like. */
interface HeapCalls {
  filling: number;
  steady: number;
}

interface Measured {
  rounds: Round[];
  clock: string;
  heapCalls: HeapCalls;
}

const programSources = [
  "bench/steps/latency.c",
  "bench/native/heap_calls.c",
  "bench/native/pool_library.c",
  "bench/native/heap_calls.h",
  "bench/native/pool_library.h",
  "bench/native/random.h",
  "harness/native/bind_cudart.h",
  "c/cuda/cudart.h",
];

async function measure({
  options: { roundCount = 15, isQuick },
  progress,
}: BenchContext): Promise<Measured> {
  progress.show("latency: compiling");
  const numbers = isQuick ? [1000, roundCount, 2000] : [liveBlockCount, roundCount, 100_000];
  const program = compileProgram("latency", programSources);
  const rounds: Round[] = [];
  progress.show("latency: warming up");
  const messages = await messagesOf<LatencyMessage>(
    { argv: [program, poolLibraryPath, simulatorLibraryPath, ...numbers.map(String)] },
    (message) => {
      if (message.kind !== "round") return;
      rounds.push(message.round);
      progress.showShare("latency: round", rounds.length, roundCount);
    },
  );
  const end = messages.at(-1);
  if (end?.kind !== "end") throw new Error("latency.c did not say its last message");
  return { rounds, clock: end.clock, heapCalls: end.heapCalls };
}

/** Returns the median of the rounds for each percentile, and for `max` the largest of all. */
function overRounds(rounds: readonly Round[], name: TimedName): Percentiles {
  return percentiles.map((percentile, index) => {
    const values = rounds.map((round) => round[name][index]!);
    return percentile === "max" ? Math.max(...values) : median(values);
  });
}

function limitsOf({ rounds, heapCalls }: Measured): LimitCheck[] {
  const live = `${liveBlockCount.toLocaleString("en")} live`;
  return [
    limitOf(`p99.9 of alloc at ${live}`, overRounds(rounds, "alloc")[p999]!, 1000, "ns"),
    limitOf(`p99.9 of free at ${live}`, overRounds(rounds, "free")[p999]!, 1000, "ns"),
    limitOf("requests to the system heap in steady state", heapCalls.steady, 0, "calls"),
  ];
}

const columns: readonly Column[] = [
  { title: "ns", width: 21, align: "left" },
  ...percentiles.map((title): Column => ({ title, width: 11, align: "right" })),
];

function table(rounds: readonly Round[]): string {
  const lines = Object.entries(timed).map(([name, title]) => {
    const cells = overRounds(rounds, name as TimedName).map(formatNumber);
    return tableLine(columns, [title, ...cells]);
  });
  return [tableHead(columns), ...lines].join("\n");
}

function explanation({ clock, heapCalls }: Measured): string {
  return (
    "Single calls, timed in C, as random blocks are replaced; the timer's own time, in the last " +
    `line, is part of every figure (${clock}). Percentiles of each round, of which the medians ` +
    "are shown, and the largest of all. What an empty lock takes at worst is the machine's doing. " +
    `Requests to the system heap (malloc, free, mmap, mprotect and so on): ${heapCalls.filling} ` +
    `while the pool was filled, ${heapCalls.steady} afterwards.`
  );
}

export const latency: BenchStep = {
  name: "latency",
  title: `Single calls at ${liveBlockCount.toLocaleString("en")} live blocks`,
  async run(context) {
    const measured = await measure(context);
    context.print(`${table(measured.rounds)}\n\n${formatNote(explanation(measured))}`);
    context.add(...limitsOf(measured));
    return { unit: "ns", percentiles, ...measured };
  },
};
