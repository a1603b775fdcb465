import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { type Column, tableHead, tableLine } from "../harness/text/table.ts";
import { formatFigures, formatNote, formatNumber } from "../harness/text/format.ts";
import type { Machine } from "../harness/machine.ts";
import type { BenchReport } from "../bench/report.ts";
import type { Limit } from "../bench/section.ts";
import { median } from "../harness/timing/statistics.ts";
import type { Check, Figure, Skipped } from "./findings.ts";
import type { GpuMachine } from "./steps/machine/probe.ts";

type OfStep<Type> = Type & { step: string };

/** The JSON file. */
export interface Report {
  /** Changes when what is below changes its meaning. */
  formatVersion: 1;
  /** On the simulator: no figure means anything. */
  isRehearsal: boolean;
  /** It was only shown that everything runs: no figure means anything. */
  isQuick: boolean;
  /** Whether it came to its end and broke no promise. */
  isPassed: boolean;
  durationSeconds: number;
  machine: Machine & { bunPath: string };
  /** `null` before it was looked at. */
  gpuMachine: GpuMachine | null;
  checks: OfStep<Check>[];
  /** What was not done, and why. */
  skipped: OfStep<Skipped>[];
  figures: OfStep<Figure>[];
  /** What the benchmark said, by section. */
  bench: Record<string, BenchReport>;
}

export async function writeReport(path: string, report: Report): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  await Bun.write(path, `${JSON.stringify(report, null, 1)}\n`);
}

const checkColumns: readonly Column[] = [
  { title: "step", width: 9, align: "left" },
  { title: "check", width: 76, align: "left" },
  { title: "verdict", width: 7, align: "left" },
];

export function checksTable({ checks }: Report): string {
  const lines = checks.map(({ step, name, isKept }) =>
    tableLine(checkColumns, [step, name, isKept ? "OK" : "BROKEN"]),
  );
  return [tableHead(checkColumns), ...lines].join("\n");
}

const figureColumns: readonly Column[] = [
  { title: "what", width: 30, align: "left" },
  { title: "by", width: 36, align: "left" },
  { title: "", width: 11, align: "right" },
  { title: "unit", width: 4, align: "left" },
  { title: "/ first", width: 7, align: "right" },
];

const explanation =
  "Medians of the rounds, ± half the distance from p10 to p90. ns: of an allocation with its free, " +
  "called from TypeScript through bun:ffi, or from Python, whose loop alone is a line too. Live " +
  "blocks: log-uniform 512 B-256 KiB, one drawn at random replaced by another. cudaMallocAsync " +
  "gives memory in the order of one stream, which is synchronized once after each measurement, as a " +
  "part of it, and where it says so in every free. It gives back to the driver whatever is free " +
  "when it is synchronized, by default; keeping, nothing.";

/** Every figure, and how many times the first of its row it is. */
export function figuresTable({ figures }: Report): string {
  const rows = Map.groupBy(figures, ({ row }) => row);
  const lines = [...rows.values()].flatMap((row) =>
    row.map(({ row: title, contestant, unit, rounds }, index) => {
      const ratio = median(rounds) / median(row[0]!.rounds);
      return tableLine(figureColumns, [
        index === 0 ? title : "",
        contestant,
        formatFigures(rounds),
        unit,
        index === 0 ? "" : formatNumber(ratio),
      ]);
    }),
  );
  return [tableHead(figureColumns), ...lines, "", formatNote(explanation)].join("\n");
}

/** The end of what a program printed, where it says why it ended. The report has all of it. */
function lastLines(text: string): string {
  const lines = text.split("\n");
  return lines.length <= 40 ? text : ["…", ...lines.slice(-40)].join("\n");
}

function missedLimits({ bench }: Report): Limit[] {
  return Object.values(bench)
    .flatMap(({ limits }) => limits)
    .filter(({ value, isKept }) => value !== null && !isKept);
}

/** What it comes to, and the whole of what was skipped, missed or broken. */
export function endingLines(report: Report, jsonPath: string): string {
  const { checks, skipped } = report;
  const broken = checks.filter(({ isKept }) => !isKept);
  const missed = report.isQuick || report.isRehearsal ? [] : missedLimits(report);
  const counts =
    `${checks.length - broken.length} checks kept, ${broken.length} broken, ` +
    `${skipped.length} skipped, in ${report.durationSeconds.toFixed(0)} s`;
  return [
    ...skipped.map(({ step, name, reason }) => `skipped: ${step}: ${name}: ${reason}`),
    ...missed.map(({ name, value, limit }) => `missed: bench: ${name}: ${value}, at most ${limit}`),
    ...broken.map(({ step, name, detail }) => `BROKEN: ${step}: ${name}: ${lastLines(detail)}`),
    report.isRehearsal ? "A rehearsal on the simulator: no figure means anything." : "",
    `${counts}; everything is in ${jsonPath}.`,
  ]
    .filter((line) => line !== "")
    .join("\n");
}
