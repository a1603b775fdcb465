import { MemoryError } from "bun-cuda-memory";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { RmmLogError } from "../examples/replay/rmm-log.ts";
import { describeMachine } from "../harness/machine.ts";
import { simulatorLibraryPath } from "../harness/native/library-paths.ts";
import { type BenchOptions, parseBenchOptions, UsageError } from "./options.ts";
import { Progress } from "../harness/text/progress.ts";
import { type BenchReport, limitsTable, machineLines, writeReport } from "./report.ts";
import type { Section } from "./section.ts";
import { bandwidth } from "./steps/bandwidth/bandwidth.ts";
import { latency } from "./steps/latency.ts";
import { metadata } from "./steps/metadata.ts";
import { packing } from "./steps/packing/packing.ts";
import { service } from "./steps/service/service.ts";
import { speed } from "./steps/speed/speed.ts";
import { views } from "./steps/views.ts";
import { waiting } from "./steps/waiting.ts";
import { workers } from "./steps/workers/workers.ts";

// `make bench`, or `bun bench/main.ts [OPTION]...`: how fast the pools are, and how tightly they
// pack, beside others. `--help` is not needed: any unknown option prints the usage.
//
// It ends with 0 where it ran through, also where a limit is missed (unless --strict: 1), with 1
// where something failed, and with 2 where it was not called properly.

const sections: readonly Section[] = [
  speed,
  workers,
  latency,
  bandwidth,
  waiting,
  views,
  packing,
  metadata,
  service,
];

/** Address space only: nothing ever touches this memory. */
const simulatedDevices = `9.0:${2 ** 40}`;

/**
 * Starts the benchmark again in this process's place, with the simulator and GPUs that are large
 * enough, unless the user chose a runtime. A process can choose only once. Most sections need no GPU,
 * since a pool that has been created makes no CUDA call.
 */
function chooseRuntime(): void {
  if (process.env["BUN_CUDA_MEMORY_CUDART"]) return;
  const env = {
    ...process.env,
    BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
    CUDART_SIM_DEVICES: simulatedDevices,
  };
  const argv = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  process.execve?.(process.execPath, argv, env);
  throw new Error("this Bun cannot start again: it has no process.execve");
}

/** Runs a section and prints it. What the chosen CUDA runtime has no room for is left out. */
async function runSection(section: Section, options: BenchOptions, report: BenchReport) {
  const progress = new Progress();
  console.log(`\n${section.title}\n`);
  try {
    const { text, limits, data } = await section.run({ ...options, progress });
    progress.clear();
    console.log(text);
    report.sections[section.name] = data;
    report.limits.push(...limits);
  } catch (error) {
    progress.clear();
    if (!(error instanceof MemoryError)) throw error;
    report.leftOut[section.name] = error.message;
    console.log(`  left out: ${error.message}`);
  }
}

async function main(argv: string[]): Promise<void> {
  const options = parseBenchOptions(
    argv,
    sections.map(({ name }) => name),
  );
  chooseRuntime();
  const report: BenchReport = {
    formatVersion: 1,
    machine: describeMachine(),
    isQuick: options.isQuick,
    sections: {},
    leftOut: {},
    limits: [],
  };
  console.log(`bun-cuda-memory's benchmark\n\n${machineLines(report.machine)}`);
  for (const section of sections) {
    if (options.only.length === 0 || options.only.includes(section.name)) {
      await runSection(section, options, report);
    }
  }
  console.log(`\nWhat the project promises\n\n${limitsTable(report.limits)}`);
  await writeReport(options.jsonPath, report);
  console.log(`\nEvery round is in ${relative(process.cwd(), options.jsonPath)}.`);
  const isMissed = report.limits.some(({ value, isKept }) => value !== null && !isKept);
  if (options.isStrict && isMissed) process.exitCode = 1;
}

function isExpected(error: unknown): error is Error {
  return error instanceof UsageError || error instanceof RmmLogError;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error("bench failed:", isExpected(error) ? error.message : error);
  process.exitCode = isExpected(error) ? 2 : 1;
}
