import { join } from "node:path";
import type { BenchReport } from "../bench/report.ts";
import { workFolder } from "./paths.ts";
import { broken, kept, skipped, type Step, type StepContext } from "./step.ts";

/**
 * Those sections of `make bench` that say something of this machine, and whether the limits of one
 * are promises about a GPU. The others' are about the processor: they are shown, and what is missed
 * is named, but that breaks nothing here, as it does not in `make bench`.
 */
const sections = {
  speed: { isAboutGpu: false },
  workers: { isAboutGpu: false },
  latency: { isAboutGpu: false },
};

const roundCount = 5;

async function runSection(context: StepContext, section: string): Promise<BenchReport | null> {
  const { isQuick } = context.options;
  const jsonPath = join(workFolder, `bench-${section}.json`);
  const { failure, output } = await context.runOrBreak(`${section} runs through`, {
    argv: [
      process.execPath,
      "bench/main.ts",
      `--only=${section}`,
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
    for (const [section, { isAboutGpu }] of Object.entries(sections)) {
      const report = await runSection(context, section);
      if (report === null) return;
      context.report.bench[section] = report;
      const [reason] = Object.values(report.leftOut);
      if (reason !== undefined) context.add(skipped(section, reason));
      if (isAboutGpu) judge(context, report);
    }
  },
};
