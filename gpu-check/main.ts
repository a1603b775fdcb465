import { machineLines } from "../bench/report.ts";
import { UsageError } from "../bench/options.ts";
import { bench } from "./steps/bench.ts";
import { behaviour } from "./steps/behaviour.ts";
import { build } from "./steps/build.ts";
import { killRunningOnExit } from "./child.ts";
import { leftovers } from "./steps/leftovers.ts";
import { machine } from "./steps/machine/machine.ts";
import { parseGpuCheckOptions } from "./options.ts";
import { faults, state } from "./steps/guarantees/guarantees.ts";
import { python } from "./steps/python/python.ts";
import { checksTable, endingLines, figuresTable, writeReport } from "./report.ts";
import { Run } from "./run.ts";
import { speed } from "./steps/speed/speed.ts";
import { startup } from "./steps/startup/startup.ts";
import type { Step } from "./step.ts";

// `make gpu-check`, or `bun gpu-check/main.ts [OPTION]...`: everything that needs a real GPU. It
// needs no network, and no package that would have to be installed, but the GPUs for itself: their
// free memory is compared. Any unknown option prints the usage.
//
// It ends with 0 where every promise was kept, with 1 after the step in which the first was broken,
// and with 2 where it was not called properly. The report is written after each step.

const steps: readonly Step[] = [
  build,
  machine,
  behaviour,
  faults,
  state,
  speed,
  python,
  startup,
  bench,
  leftovers,
];

async function main(argv: string[]): Promise<void> {
  const options = parseGpuCheckOptions(
    argv,
    steps.filter(({ isAlwaysRun }) => !isAlwaysRun).map(({ name }) => name),
  );
  killRunningOnExit();
  const run = new Run(options);
  const { report } = run;
  console.log(
    `bun-cuda-memory's check on a GPU\n\n${machineLines(report.machine)}\n  ${process.execPath}`,
  );
  for (const [index, step] of steps.entries()) {
    console.log(`\n[${index + 1}/${steps.length}] ${step.title}`);
    await run.do(step);
    report.isPassed = index === steps.length - 1 && !run.isBroken;
    await writeReport(options.jsonPath, report);
  }
  console.log(`\n${checksTable(report)}`);
  if (report.figures.length > 0) console.log(`\n${figuresTable(report)}`);
  console.log(`\n${endingLines(report, options.jsonPath)}`);
  process.exitCode = report.isPassed ? 0 : 1;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  const isExpected = error instanceof UsageError;
  console.error("gpu-check failed:", isExpected ? error.message : error);
  process.exitCode = isExpected ? 2 : 1;
}
