import { createMemoryManagers, MemoryError } from "bun-cuda-memory";
import { isSimulated } from "../../../harness/cuda-runtime.ts";
import { limitOf, type LimitCheck } from "../../../harness/run/findings.ts";
import { formatNote, formatNumber } from "../../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../../harness/text/table.ts";
import { Figures } from "../../../harness/timing/figures.ts";
import { orderOfRound } from "../../../harness/timing/rounds.ts";
import { median, ratios } from "../../../harness/timing/statistics.ts";
import { cudart } from "../../../src/native/cudart.ts";
import type { BenchContext, BenchStep } from "../../context.ts";
import { type Direction, type Way, type WayName, Ways, ways } from "./ways.ts";

// Bytes to and from a GPU, in every way that the package has, beside cudaMemcpy of the same bytes.

const directions = ["write", "read"] as const;

const kibibyte = 1024;
const mebibyte = 1024 ** 2;

/** At this size and above, a way must be as fast as cudaMemcpy. */
const judgedFrom = 16 * mebibyte;

/**
 * Bytes that a measurement moves: small sizes are repeated, since the clock is too coarse for one.
 */
const bytesOfRound = 32 * mebibyte;
const repetitionCountMax = 2000;

function sizesOf(isQuick: boolean): number[] {
  const all = [4 * kibibyte, 64 * kibibyte, mebibyte, 4 * mebibyte, 16 * mebibyte];
  if (isQuick) return all.slice(0, 3);
  // A simulated GPU is as fast as memcpy, and larger sizes show nothing more.
  return isSimulated() ? all : [...all, 64 * mebibyte, 256 * mebibyte, 1024 * mebibyte];
}

function sizeName(byteSize: number): string {
  if (byteSize < mebibyte) return `${byteSize / kibibyte} KiB`;
  return byteSize < 1024 * mebibyte ? `${byteSize / mebibyte} MiB` : `${byteSize / 1024 ** 3} GiB`;
}

function rowOf(direction: Direction, byteSize: number): string {
  return `${direction} ${sizeName(byteSize)}`;
}

/** Returns GB/s. */
async function measureOnce(way: Way, byteSize: number, repetitionCount: number): Promise<number> {
  const start = Bun.nanoseconds();
  for (let i = 0; i < repetitionCount; i++) {
    const moved = way();
    if (moved !== undefined) await moved;
  }
  return (byteSize * repetitionCount) / (Bun.nanoseconds() - start);
}

async function measureSize(
  byteSize: number,
  roundCount: number,
  isQuick: boolean,
  figures: Figures,
): Promise<void> {
  using all = new Ways(cudart()!, byteSize);
  const repetitionCount = isQuick
    ? 1
    : Math.min(repetitionCountMax, Math.max(1, Math.round(bytesOfRound / byteSize)));
  for (const direction of directions) {
    const named = Object.entries(all.of(direction)) as [WayName, Way][];
    for (const [, way] of named) await way(); // the first time costs more, and says nothing
    for (let round = 0; round < roundCount; round++) {
      for (const [name, way] of orderOfRound(named, round)) {
        const value = await measureOnce(way, byteSize, repetitionCount);
        figures.add(rowOf(direction, byteSize), name, value);
      }
    }
  }
}

async function measure({ options: { roundCount = 9, isQuick }, progress }: BenchContext) {
  const sizes = sizesOf(isQuick);
  const largest = sizes.at(-1)!;
  using _managers = createMemoryManagers({
    cudaMemoryPoolByteSize: { 0: largest },
    pinnedMemoryPoolByteSize: largest + 64 * mebibyte, // and room for staging
  });
  if (cudart() === null) throw new MemoryError("UNAVAILABLE", "there is no CUDA runtime");
  const figures = new Figures("GB/s");
  for (const [index, byteSize] of sizes.entries()) {
    progress.showShare("bandwidth: size", index, sizes.length);
    await measureSize(byteSize, roundCount, isQuick, figures);
  }
  return { sizes, figures };
}

/** The raw copy's GB/s over the way's, at the size where that is worst. */
function worstRatio(figures: Figures, sizes: number[], raw: WayName, way: WayName): number {
  const all = sizes.flatMap((byteSize) =>
    directions.map((direction) => {
      const of = (name: WayName) => figures.roundsOf(rowOf(direction, byteSize), name);
      return median(ratios(of(raw), of(way)));
    }),
  );
  return Math.max(...all);
}

function limitsOf(figures: Figures, sizes: number[]): LimitCheck[] {
  const judged = isSimulated() ? [] : sizes.filter((byteSize) => byteSize >= judgedFrom);
  if (judged.length === 0) return [];
  const limit = 1 / 0.95;
  return [
    limitOf(
      "raw pageable GB/s / staged, from 16 MiB",
      worstRatio(figures, judged, "rawPageable", "staged"),
      limit,
    ),
    limitOf(
      "raw pinned GB/s / copyBuffer, from 16 MiB",
      worstRatio(figures, judged, "rawPinned", "pinned"),
      limit,
    ),
    limitOf(
      "raw pinned GB/s / on a stream, from 16 MiB",
      worstRatio(figures, judged, "rawPinned", "pinnedOnStream"),
      1.25, // a timer's millisecond may be lost
    ),
  ];
}

const columns: readonly Column[] = [
  { title: "GB/s", width: 14, align: "left" },
  ...Object.values(ways).map((title): Column => ({ title, width: 12, align: "right" })),
];

function table(figures: Figures, sizes: readonly number[]): string {
  const lines = directions.flatMap((direction) =>
    sizes.map((byteSize) => {
      const cells = (Object.keys(ways) as WayName[]).map((way) =>
        formatNumber(median(figures.roundsOf(rowOf(direction, byteSize), way))),
      );
      return tableLine(columns, [rowOf(direction, byteSize), ...cells]);
    }),
  );
  return [tableHead(columns), ...lines].join("\n");
}

const explanation =
  "Medians. Raw: cudaMemcpy and cudaStreamSynchronize through bun:ffi. Pageable is an ordinary " +
  "ArrayBuffer, as for the two columns after it: write and read block the thread, writeAsync and " +
  "readAsync stage the bytes through pinned memory and are awaited. On the right from and to pinned " +
  "memory of the pool, without a stream and on one, whose end is awaited.";

const simulatedNote =
  "\n\n  The GPU is simulated: these figures are this processor's, and nothing is judged.";

export const bandwidth: BenchStep = {
  name: "bandwidth",
  title: "Bytes to and from a GPU",
  async run(context) {
    const { sizes, figures } = await measure(context);
    const note = formatNote(explanation) + (isSimulated() ? simulatedNote : "");
    context.print(`${table(figures, sizes)}\n\n${note}`);
    context.add(...figures.all, ...limitsOf(figures, sizes));
    return { isSimulated: isSimulated(), byteSizes: sizes };
  },
};
