import { messagesOf } from "../../harness/child/run-program.ts";
import { compileProgram } from "../../harness/native/compile.ts";
import { poolLibraryPath, simulatorLibraryPath } from "../../harness/paths.ts";
import { limitOf, type LimitCheck } from "../../harness/run/findings.ts";
import { formatByteSize, formatNote, formatNumber } from "../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../harness/text/table.ts";
import type { BenchStep } from "../context.ts";

// What the pool's own tables cost, counted in pages that are really in RAM.

const byteSizePerBlockMax = 48;
const shareOfCapacityMax = 0.001;
const idleByteSizeMax = 2 * 1024 ** 2;

/** What metadata.c says, in bytes. */
interface Measured {
  idle: number;
  capacity: number;
  filled: number;
  replaced: number;
}

const programSources = [
  "bench/steps/metadata.c",
  "bench/native/pool_library.c",
  "bench/native/pool_library.h",
  "bench/native/random.h",
  "harness/native/bind_cudart.h",
  "c/cuda/cudart.h",
];

async function measure(liveBlockCount: number): Promise<Measured> {
  const program = compileProgram("metadata", programSources);
  const [message] = await messagesOf<Measured & { kind: "metadata" }>({
    argv: [program, poolLibraryPath, simulatorLibraryPath, String(liveBlockCount)],
  });
  if (message === undefined) throw new Error("metadata.c said nothing");
  const { idle, capacity, filled, replaced } = message;
  return { idle, capacity, filled, replaced };
}

const columns: readonly Column[] = [
  { title: "pool", width: 46, align: "left" },
  { title: "capacity", width: 10, align: "right" },
  { title: "metadata", width: 10, align: "right" },
  { title: "B per block", width: 11, align: "right" },
];

function table({ idle, capacity, filled, replaced }: Measured, liveBlockCount: number): string {
  const live = `${liveBlockCount.toLocaleString("en")} live blocks`;
  const line = (title: string, poolByteSize: number, byteSize: number, perBlock: string) =>
    tableLine(columns, [title, formatByteSize(poolByteSize), formatByteSize(byteSize), perBlock]);
  return [
    tableHead(columns),
    line("idle", 80 * 1024 ** 3, idle, ""),
    line(`${live}, as filled`, capacity, filled, formatNumber(filled / liveBlockCount)),
    line(
      `${live}, each replaced 4 times`,
      capacity,
      replaced,
      formatNumber(replaced / liveBlockCount),
    ),
  ].join("\n");
}

const explanation =
  "Resident memory of a C process without TypeScript, as the kernel counts it, free blocks' " +
  "included.";

function limitsOf(measured: Measured, liveBlockCount: number): LimitCheck[] {
  const { idle, capacity, filled, replaced } = measured;
  const allowed = byteSizePerBlockMax * liveBlockCount + shareOfCapacityMax * capacity;
  const mebibytes = (name: string, byteSize: number, max: number) =>
    limitOf(name, byteSize / 1024 ** 2, max / 1024 ** 2, "MiB");
  const name = `metadata, at most ${byteSizePerBlockMax} B per live block + 0.1% of the capacity`;
  return [
    mebibytes(name, Math.max(filled, replaced), allowed),
    mebibytes("metadata of an idle pool of 80 GiB", idle, idleByteSizeMax),
  ];
}

export const metadata: BenchStep = {
  name: "metadata",
  title: "Metadata",
  async run(context) {
    const liveBlockCount = context.options.isQuick ? 20_000 : 1_000_000;
    context.progress.show("metadata: filling a pool");
    const measured = await measure(liveBlockCount);
    context.print(`${table(measured, liveBlockCount)}\n\n${formatNote(explanation)}`);
    context.add(...limitsOf(measured, liveBlockCount));
    return { unit: "bytes", liveBlockCount, ...measured };
  },
};
