import { relative } from "node:path";
import { chosenRuntimePath, startAgainOnSimulator } from "../harness/cuda-runtime.ts";
import { machineLines } from "../harness/machine.ts";
import { verdictOf } from "../harness/run/findings.ts";
import { runMain } from "../harness/run/program-main.ts";
import { closingLines } from "../harness/run/report.ts";
import { limitsTable } from "./limits-table.ts";
import { parseBenchOptions } from "./options.ts";
import { BenchRun } from "./run.ts";
import { steps } from "./steps.ts";

// `make bench`, or `bun bench/main.ts [OPTION]...`: how fast the pools are, and how tightly they
// pack, beside others. Any unknown option, such as `--help`, prints the usage.
//
// It ends with 0 where it ran through, also where a limit is missed (unless --strict: 1), with 1
// where something failed, and with 2 where it was not called properly.

/** Large enough for every step: nothing ever touches this memory, it is only address space. */
const simulatedDevices = `9.0:${2 ** 40}`;

async function main(argv: string[]): Promise<void> {
  const options = parseBenchOptions(
    argv,
    steps.map(({ name }) => name),
  );
  // Most steps need no GPU, since a pool that has been created makes no CUDA call.
  if (chosenRuntimePath() === undefined) startAgainOnSimulator(simulatedDevices);
  const run = new BenchRun(options);
  const { report } = run;
  console.log(`bun-cuda-memory's benchmark\n\n${machineLines(report.machine)}`);
  await run.do(steps);
  console.log(`\nWhat the project guarantees\n\n${limitsTable(report.checks)}`);
  console.log(`\n${closingLines(report, relative(process.cwd(), options.jsonPath))}`);
  const isMissed = report.checks.some((check) => verdictOf(check) === "MISSED");
  if (!report.isPassed || (options.isStrict && isMissed)) process.exitCode = 1;
}

await runMain("bench", main);
