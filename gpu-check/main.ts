import { killGroupsOnExit } from "../harness/child/child.ts";
import { machineLines } from "../harness/machine.ts";
import { runMain } from "../harness/run/program-main.ts";
import type { GpuCheckStep } from "./context.ts";
import { parseGpuCheckOptions } from "./options.ts";
import { checksTable, endingLines, figuresTable } from "./report.ts";
import { GpuCheckRun } from "./run.ts";
import { behaviour } from "./steps/behaviour.ts";
import { bench } from "./steps/bench.ts";
import { build } from "./steps/build.ts";
import { faults, state } from "./steps/guarantees/guarantees.ts";
import { leftovers } from "./steps/leftovers.ts";
import { machine } from "./steps/machine/machine.ts";
import { python } from "./steps/python/python.ts";
import { speed } from "./steps/speed/speed.ts";
import { startup } from "./steps/startup/startup.ts";

// `make gpu-check`, or `bun gpu-check/main.ts [OPTION]...`: everything that needs a real GPU. It
// needs no network and no installed package, but it needs the GPUs for itself, because it compares
// their free memory. Any unknown option prints the usage.
//
// It ends with 0 where every guarantee was kept, with 1 after the step in which the first was
// broken, and with 2 where it was not called properly. The report is written after each step.

const steps: readonly GpuCheckStep[] = [
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
  killGroupsOnExit();
  const run = new GpuCheckRun(options);
  const { report } = run;
  console.log(`bun-cuda-memory's check on a GPU\n\n${machineLines(report.machine)}`);
  await run.do(steps);
  console.log(`\n${checksTable(report)}`);
  if (report.figures.length > 0) console.log(`\n${figuresTable(report)}`);
  console.log(`\n${endingLines(report, options.jsonPath)}`);
  process.exitCode = report.isPassed ? 0 : 1;
}

await runMain("gpu-check", main);
