import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { type Column, tableHead, tableLine } from "../harness/text/table.ts";
import { formatNumber } from "../harness/text/format.ts";
import type { Machine } from "../harness/machine.ts";
import type { Limit } from "./section.ts";

/** The JSON file. */
export interface BenchReport {
  /** Changes when what is below changes its meaning. */
  formatVersion: 1;
  machine: Machine;
  /** The figures mean nothing: it was only shown that everything runs. */
  isQuick: boolean;
  /** By section: every round of every contestant, in the units that the section names. */
  sections: Record<string, unknown>;
  /** Why a section was left out, by section. */
  leftOut: Record<string, string>;
  limits: Limit[];
}

export async function writeReport(path: string, report: BenchReport): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  await Bun.write(path, `${JSON.stringify(report, null, 1)}\n`);
}

export function machineLines(machine: Machine): string {
  const { cpu, coreCount, kernel, bun, compiler, gitRevision, date } = machine;
  return [
    `  ${cpu}, ${coreCount} cores, Linux ${kernel}`,
    `  Bun ${bun}, ${compiler}, revision ${gitRevision || "unknown"}, ${date}`,
  ].join("\n");
}

const limitColumns: readonly Column[] = [
  { title: "limit", width: 60, align: "left" },
  { title: "measured", width: 11, align: "right" },
  { title: "at most", width: 11, align: "right" },
  { title: "verdict", width: 7, align: "left" },
];

function verdict({ value, isKept }: Limit): string {
  if (value === null) return "-";
  return isKept ? "OK" : "MISSED";
}

export function limitsTable(limits: readonly Limit[]): string {
  const lines = limits.map((limit) => {
    const { name, value, unit } = limit;
    const withUnit = (number: number) =>
      unit === "" ? number.toFixed(3) : `${formatNumber(number)} ${unit}`;
    const measured = value === null ? "-" : withUnit(value);
    return tableLine(limitColumns, [name, measured, withUnit(limit.limit), verdict(limit)]);
  });
  return [tableHead(limitColumns), ...lines].join("\n");
}
