import { AllocatedMemory, PinnedMemoryManager } from "bun-cuda-memory";
import { formatFigures, formatNote } from "../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../harness/text/table.ts";
import type { Figures } from "../../harness/timing/figures.ts";
import { runRounds } from "../../harness/timing/rounds.ts";
import type { BenchContext, BenchStep } from "../context.ts";

// What it costs to look at host memory through `bytes`: the view is made once for each memory, and
// the garbage collector takes it for memory of its own.

const kibibyte = 1024;
const byteSizes = [512, 64 * kibibyte, 1024 * kibibyte, 16 * 1024 * kibibyte];

const ways = {
  alone: "allocated and freed",
  viewed: "and looked at",
  again: "looked at again",
} as const;

type WayName = keyof typeof ways;

function rowOf(byteSize: number): string {
  return `${byteSize / kibibyte} KiB`;
}

/** Returns the nanoseconds that a call of the action takes. */
function timeEach(count: number, action: () => unknown): number {
  const start = Bun.nanoseconds();
  for (let i = 0; i < count; i++) action();
  return (Bun.nanoseconds() - start) / count;
}

function contestantsOf(kept: AllocatedMemory, isQuick: boolean) {
  const byteSize = kept.totalByteSize;
  const count = isQuick ? 10 : Math.min(5000, (256 * 1024 * kibibyte) / byteSize);
  const measures: Record<WayName, () => number> = {
    alone: () => timeEach(count, () => new AllocatedMemory(byteSize, "CPU_PINNED").free()),
    viewed: () =>
      timeEach(count, () => {
        using memory = new AllocatedMemory(byteSize, "CPU_PINNED");
        return memory.bytes.length;
      }),
    again: () => timeEach(count, () => kept.bytes.length),
  };
  return Object.entries(measures).map(([way, measure]) => ({
    row: rowOf(byteSize),
    name: way,
    measure,
  }));
}

async function measure({ options: { roundCount = 9, isQuick }, progress }: BenchContext) {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 64 * 1024 * kibibyte });
  using stack = new DisposableStack();
  stack.defer(() => PinnedMemoryManager.reset());
  const contestants = byteSizes.flatMap((byteSize) =>
    contestantsOf(stack.use(new AllocatedMemory(byteSize, "CPU_PINNED")), isQuick),
  );
  return await runRounds(contestants, "ns", roundCount, (doneCount) =>
    progress.showShare("views: round", doneCount, roundCount),
  );
}

const columns: readonly Column[] = [
  { title: "ns", width: 14, align: "left" },
  ...Object.values(ways).map((title): Column => ({ title, width: 20, align: "right" })),
];

function table(figures: Figures): string {
  const lines = byteSizes.map((byteSize) => {
    const cells = (Object.keys(ways) as WayName[]).map((way) =>
      formatFigures(figures.roundsOf(rowOf(byteSize), way)),
    );
    return tableLine(columns, [rowOf(byteSize), ...cells]);
  });
  return [tableHead(columns), ...lines].join("\n");
}

const explanation =
  "Medians of the rounds, ± half the distance from p10 to p90. The first look makes an ArrayBuffer " +
  "of the memory, and freeing the memory detaches it. Its length counts as garbage for the " +
  "collector, which runs the more often for it; only one that could not be detached would not.";

export const views: BenchStep = {
  name: "views",
  title: "Looking at pinned memory",
  async run(context) {
    const figures = await measure(context);
    context.print(`${table(figures)}\n\n${formatNote(explanation)}`);
    context.add(...figures.all);
    return { byteSizes };
  },
};
