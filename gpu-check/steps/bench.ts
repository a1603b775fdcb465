import { join } from "node:path";
import { formatByteSize } from "../../harness/text/format.ts";
import { replacementPoolByteSize } from "../../harness/workloads/replacement.ts";
import type { BenchReport } from "../../bench/report.ts";
import { workFolder } from "../paths.ts";
import { broken, kept, skipped, type Step, type StepContext } from "../step.ts";

interface Section {
  /**
   * Whether its limits are promises about a GPU. Others are about the processor: they are shown, and
   * what is missed is named, but that breaks nothing here, as it does not in `make bench`.
   */
  isAboutGpu: boolean;
  /** The largest pool that it makes. */
  poolByteSize?: number;
}

/** Those sections of `make bench` that say something of this machine. */
const sections: Readonly<Record<string, Section>> = {
  speed: { isAboutGpu: false, poolByteSize: replacementPoolByteSize(1_000_000) },
  workers: { isAboutGpu: false },
  latency: { isAboutGpu: false },
  bandwidth: { isAboutGpu: true },
  waiting: { isAboutGpu: true },
  views: { isAboutGpu: false },
  service: { isAboutGpu: false },
};

/** A section that begins with less time left than this might not end in time. */
const secondsNeeded = 90;

const roundCount = 5;

async function runSection(context: StepContext, name: string): Promise<BenchReport | null> {
  const { isQuick } = context.options;
  const jsonPath = join(workFolder, `bench-${name}.json`);
  const { failure, output } = await context.runOrBreak(`${name} runs through`, {
    argv: [
      process.execPath,
      "bench/main.ts",
      `--only=${name}`,
      `--rounds=${isQuick ? 1 : roundCount}`,
      `--json=${jsonPath}`,
      ...(isQuick ? ["--quick"] : []),
    ],
    timeoutSeconds: 150,
  });
  if (failure !== "") return null;
  console.log(`\n${output}`);
  return (await Bun.file(jsonPath).json()) as BenchReport;
}

/** Why a section is not run, or `""`. */
function whyNot(context: StepContext, { poolByteSize = 0 }: Section): string {
  const { gpus, supportedGpus } = context.report.gpuMachine!;
  const { freeByteSize } = gpus[supportedGpus[0]!]!;
  if (poolByteSize > freeByteSize) {
    return `it needs a GPU with ${formatByteSize(poolByteSize)}, and ${formatByteSize(freeByteSize)} are free`;
  }
  return context.secondsLeft() < secondsNeeded ? "there is no time left for it" : "";
}

function judge(context: StepContext, { limits }: BenchReport): void {
  for (const { name, value, limit, unit, isKept } of limits) {
    if (!context.options.areFiguresJudged) context.add(skipped(name, "figures mean nothing here"));
    else if (value === null) context.add(skipped(name, "it was not measured"));
    else context.add((isKept ? kept : broken)(name, `${value} ${unit}, at most ${limit}`));
  }
}

export const bench: Step = {
  name: "bench",
  title: `Run sections of the benchmark: ${Object.keys(sections).join(", ")}`,
  async run(context) {
    for (const [name, section] of Object.entries(sections)) {
      const reason = whyNot(context, section);
      if (reason !== "") {
        context.add(skipped(name, reason));
        continue;
      }
      const report = await runSection(context, name);
      if (report === null) return;
      context.report.bench[name] = report;
      for (const text of Object.values(report.leftOut)) context.add(skipped(name, text));
      if (section.isAboutGpu) judge(context, report);
    }
  },
};
