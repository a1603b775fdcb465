import { join } from "node:path";
import { checkOf, isLimit, skipped } from "../../harness/run/findings.ts";
import type { Report } from "../../harness/run/report.ts";
import { formatByteSize } from "../../harness/text/format.ts";
import { replacementPoolByteSize } from "../../harness/workloads/replacement.ts";
import type { GpuCheckContext, GpuCheckStep } from "../context.ts";
import { workFolder } from "../paths.ts";

interface BenchStepChoice {
  /**
   * Whether its limits are guarantees about a GPU. Other limits are about the processor: a missed
   * one is shown and named, but breaks nothing here, as it does not in `make bench`.
   */
  isAboutGpu: boolean;
  /** The largest pool that the step makes. */
  poolByteSize?: number;
}

/** The steps of `make bench` that say something of this machine. */
export const benchSteps: Readonly<Record<string, BenchStepChoice>> = {
  speed: { isAboutGpu: false, poolByteSize: replacementPoolByteSize(1_000_000) },
  workers: { isAboutGpu: false },
  latency: { isAboutGpu: false },
  bandwidth: { isAboutGpu: true },
  waiting: { isAboutGpu: true },
  views: { isAboutGpu: false },
  gateway: { isAboutGpu: false },
  bodies: { isAboutGpu: false },
};

/** The others, of which no machine changes what they say. */
export const leftOutBenchSteps: readonly string[] = ["packing", "metadata"];

/** A step that begins with less time left than this might not end in time. */
const secondsNeeded = 90;

const roundCount = 5;

async function runBenchStep(context: GpuCheckContext, name: string): Promise<Report | null> {
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
  context.print(`\n${output}`);
  return (await Bun.file(jsonPath).json()) as Report;
}

/** Returns why a step is not run, or `""`. */
function whyNot(context: GpuCheckContext, { poolByteSize = 0 }: BenchStepChoice): string {
  const { gpus, supportedGpus } = context.report.gpuMachine!;
  const { freeByteSize } = gpus[supportedGpus[0]!]!;
  if (poolByteSize > freeByteSize) {
    return `it needs a GPU with ${formatByteSize(poolByteSize)}, and ${formatByteSize(freeByteSize)} are free`;
  }
  return context.secondsLeft() < secondsNeeded ? "there is no time left for it" : "";
}

/** Makes a guarantee of each limit. */
function judge(context: GpuCheckContext, { checks }: Report): void {
  for (const { name, value, isKept, detail } of checks.filter(isLimit)) {
    if (!context.options.areFiguresJudged) context.add(skipped(name, "figures mean nothing here"));
    else if (value === null) context.add(skipped(name, "it was not measured"));
    else context.add(checkOf(name, isKept, detail));
  }
}

export const bench: GpuCheckStep = {
  name: "bench",
  title: `Run steps of the benchmark: ${Object.keys(benchSteps).join(", ")}`,
  async run(context) {
    for (const [name, choice] of Object.entries(benchSteps)) {
      const reason = whyNot(context, choice);
      if (reason !== "") {
        context.add(skipped(name, reason));
        continue;
      }
      const report = await runBenchStep(context, name);
      if (report === null) return;
      context.report.bench[name] = report;
      const ownSkips = report.skipped.filter(({ step }) => step === name);
      context.add(...ownSkips.map((own) => skipped(name, own.reason)));
      if (choice.isAboutGpu) judge(context, report);
    }
  },
};
