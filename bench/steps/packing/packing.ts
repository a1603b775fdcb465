import { peakLiveByteSize } from "../../../examples/replay/allocation-events.ts";
import { RmmLogError } from "../../../examples/replay/rmm-log.ts";
import { blamingArguments } from "../../../harness/run/errors.ts";
import { limitOf, type LimitCheck } from "../../../harness/run/findings.ts";
import { formatByteSize, formatNote } from "../../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../../harness/text/table.ts";
import { mean } from "../../../harness/timing/statistics.ts";
import type { BenchContext, BenchStep } from "../../context.ts";
import { type PackedLog, readLogs, smallPeakByteSize } from "./logs.ts";
import { type PackerName, packers, packingRatio } from "./packers.ts";
import { type SyntheticWorkload, syntheticWorkloads } from "./workloads.ts";

// Finds out how much larger than its content a pool has to be.

const packerNames = Object.keys(packers) as PackerName[];

/** The size of the smallest pool over the peak of live bytes, by packer. */
type Ratios = Record<PackerName, number>;

/** A line of the table. */
interface Packed {
  name: string;
  /** The peak of live bytes with the first seed. */
  peakByteSize: number;
  scale: number;
  /** One entry for each seed; a log has only one. */
  ratios: Ratios[];
}

function packAll(events: PackedLog["events"]): Ratios {
  const entries = packerNames.map((name) => [name, packingRatio(name, events)] as const);
  return Object.fromEntries(entries) as Ratios;
}

function packLog({ name, events, scale }: PackedLog): Packed {
  return { name, peakByteSize: peakLiveByteSize(events), scale, ratios: [packAll(events)] };
}

function packWorkload({ name, events }: SyntheticWorkload, seeds: readonly number[]): Packed {
  return {
    name,
    peakByteSize: peakLiveByteSize(events(seeds[0]!)),
    scale: 1,
    ratios: seeds.map((seed) => packAll(events(seed))),
  };
}

function meanRatio(packed: readonly Packed[], packer: PackerName): number {
  return mean(packed.map(({ ratios }) => mean(ratios.map((ratio) => ratio[packer]))));
}

const columns: readonly Column[] = [
  { title: "smallest pool / peak", width: 30, align: "left" },
  { title: "peak", width: 9, align: "right" },
  ...Object.values(packers).map((title): Column => ({ title, width: 9, align: "right" })),
  { title: "to best fit", width: 11, align: "right" },
];

/** By how much the excess over the peak differs from best fit's: `"-12.3%"`. */
function excessChange(packed: readonly Packed[]): string {
  const bestFit = meanRatio(packed, "bestFit") - 1;
  if (bestFit === 0) return "-";
  const change = ((meanRatio(packed, "pool") - 1) / bestFit - 1) * 100;
  return `${change > 0 ? "+" : ""}${change.toFixed(1)}%`;
}

function line(title: string, peak: string, packed: readonly Packed[]): string {
  const cells = packerNames.map((packer) => meanRatio(packed, packer).toFixed(3));
  return tableLine(columns, [title, peak, ...cells, excessChange(packed)]);
}

/** The lines of each kind of trace, and below them their mean. */
function table(groups: readonly { name: string; packed: Packed[] }[]): string {
  const lines = groups.flatMap(({ name, packed }) => [
    ...packed.map((one) => {
      const title = one.scale === 1 ? one.name : `${one.name} x ${one.scale}`;
      return line(title, formatByteSize(one.peakByteSize), [one]);
    }),
    line(`mean of ${packed.length} ${name}`, "", packed),
    "",
  ]);
  return [tableHead(columns), ...lines].join("\n").trimEnd();
}

function explanation(seedCount: number, hasLogs: boolean): string {
  const workloads =
    "The pools are tried from the peak of live bytes upwards, in steps of 0.1%; a size counts if " +
    "those up to 1% larger serve as well. Best fit: exact, " +
    "the lowest of equals, joined at once. First fit: the lowest that fits. Two ends: best fit, " +
    "but blocks of 1/64 of the pool and more lie at the other end. To best fit: how this pool's " +
    `excess over 1 differs. Workloads are means of ${seedCount} seeds, as one replay is chaotic.`;
  const logs = hasLogs
    ? ` Logs with a peak below ${formatByteSize(smallPeakByteSize)} have their sizes multiplied ` +
      "by 512, the unit of the pools, as marked."
    : " --traces FOLDER packs the RMM logs of a folder too.";
  return workloads + logs;
}

function limitsOf(logs: readonly Packed[], workloads: readonly Packed[]): LimitCheck[] {
  const toBestFit = [...logs, ...workloads].map(
    (packed) => meanRatio([packed], "pool") / meanRatio([packed], "bestFit"),
  );
  const averaged = logs.length > 0 ? logs : workloads;
  const averagedName = logs.length > 0 ? "logs" : "workloads";
  const excess = (meanRatio(averaged, "pool") - 1) / (meanRatio(averaged, "bestFit") - 1);
  return [
    limitOf("smallest pool / best fit's, the worst trace", Math.max(...toBestFit), 1.005),
    limitOf(`mean excess of the ${averagedName} / best fit's`, excess, 0.9),
  ];
}

/** @throws {UsageError} for a folder whose logs cannot be read. */
async function logsOf(folder: string | undefined): Promise<PackedLog[]> {
  if (folder === undefined) return [];
  return await blamingArguments(RmmLogError, () => readLogs(folder));
}

/** Packs one after the other, with the progress drawn. */
async function packEach<Trace extends { name: string }>(
  traces: readonly Trace[],
  pack: (trace: Trace) => Packed,
  progress: BenchContext["progress"],
): Promise<Packed[]> {
  const packed: Packed[] = [];
  for (const [index, trace] of traces.entries()) {
    progress.showShare(`packing: ${trace.name},`, index, traces.length);
    await Bun.sleep(0); // lets the line be drawn
    packed.push(pack(trace));
  }
  return packed;
}

export const packing: BenchStep = {
  name: "packing",
  title: "Packing",
  async run(context) {
    const { progress } = context;
    const { isQuick, tracesFolder } = context.options;
    const seeds = isQuick ? [1] : [1, 2, 3, 4, 5];
    const logs = await logsOf(tracesFolder);
    const packedLogs = await packEach(logs, packLog, progress);
    const packedWorkloads = await packEach(
      syntheticWorkloads(isQuick),
      (workload) => packWorkload(workload, seeds),
      progress,
    );
    const groups = [
      { name: "logs", packed: packedLogs },
      { name: "workloads", packed: packedWorkloads },
    ].filter(({ packed }) => packed.length > 0);
    context.print(`${table(groups)}\n\n${formatNote(explanation(seeds.length, logs.length > 0))}`);
    context.add(...limitsOf(packedLogs, packedWorkloads));
    return {
      unit: "smallest pool / peak of live bytes",
      logs: packedLogs,
      workloads: packedWorkloads,
    };
  },
};
