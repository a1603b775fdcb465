import { verdictOf } from "../harness/run/findings.ts";
import { closingLines, newReport, type Report } from "../harness/run/report.ts";
import { formatFigures, formatNote, formatNumber } from "../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../harness/text/table.ts";
import { median } from "../harness/timing/statistics.ts";
import type { GpuCheckOptions } from "./options.ts";
import type { GpuMachine } from "./steps/machine/probe.ts";

/** What the check on a GPU found: its JSON file. */
export interface GpuCheckReport extends Report {
  /** The check ran on the simulator: no figure means anything. */
  isRehearsal: boolean;
  /** `null` before the machine was looked at. */
  gpuMachine: GpuMachine | null;
  /** The benchmark's own reports, by the step that it ran. */
  bench: Record<string, Report>;
}

export function newGpuCheckReport(options: GpuCheckOptions): GpuCheckReport {
  const { isRehearsal } = options;
  return { ...newReport(options), isRehearsal, gpuMachine: null, bench: {} };
}

const checkColumns: readonly Column[] = [
  { title: "step", width: 9, align: "left" },
  { title: "check", width: 76, align: "left" },
  { title: "verdict", width: 7, align: "left" },
];

export function checksTable({ checks }: GpuCheckReport): string {
  const lines = checks.map((check) =>
    tableLine(checkColumns, [check.step, check.name, verdictOf(check)]),
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
export function figuresTable({ figures }: GpuCheckReport): string {
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

/** The limits that the benchmark missed, whether or not they say something of the GPU. */
function missedLines({ bench, isQuick }: GpuCheckReport): string[] {
  if (isQuick) return [];
  return Object.values(bench)
    .flatMap(({ checks }) => checks)
    .filter((check) => verdictOf(check) === "MISSED")
    .map(({ name, detail }) => `missed: bench: ${name}: ${detail}`);
}

/** What the check comes to, and all of what was skipped, missed or broken. */
export function endingLines(report: GpuCheckReport, jsonPath: string): string {
  const rehearsal = "A rehearsal on the simulator: no figure means anything.";
  const remarks = report.isRehearsal ? [rehearsal] : missedLines(report);
  return closingLines(report, jsonPath, remarks);
}
