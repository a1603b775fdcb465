import { getSupportedGpus } from "bun-cuda-memory";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { AllocationEvents } from "../examples/replay/allocation-events.ts";
import { DemoFailure } from "./demo-failure.ts";
import { Notes } from "./notes.ts";
import { demonstrateReplay } from "./replay-demo.ts";
import { demonstrateService } from "./service-demo.ts";
import { readRmmLog, RmmLogError } from "../examples/replay/rmm-log.ts";
import { servingWorkload } from "../harness/workloads/serving.ts";

// `make demo`, or `bun demo/main.ts [--trace FILE]`: sends real files through the tensor
// service, then replays a workload (by default that of a server that runs inference; otherwise an
// RMM log, plain or gzipped) with pools of two sizes.
//
// It ends with 0 where all went well, 1 where a byte differed, memory was left over or something
// failed, and 2 where it was not called properly.

const simulatorPath = fileURLToPath(new URL("../build/libcudart_sim.so", import.meta.url));

/** The process was not called properly. */
class UsageError extends Error {}

interface Workload {
  title: string;
  events: AllocationEvents;
}

function parseTrace(argv: string[]): string | undefined {
  try {
    return parseArgs({ args: argv, options: { trace: { type: "string" } } }).values.trace;
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\nusage: bun demo/main.ts [--trace FILE]`);
  }
}

async function workloadOf(trace: string | undefined): Promise<Workload> {
  if (trace !== undefined) return { title: trace, events: await readRmmLog(trace) };
  return { title: "a server that runs inference, 4,000 requests", events: servingWorkload() };
}

/**
 * Starts the demo again in this process's place, with the simulator: a process can choose its CUDA
 * runtime only once.
 */
function startAgainWithSimulator(): never {
  console.log("No GPU here that CUDA can use: starting again with the CUDA simulator.");
  const env = { ...process.env, BUN_CUDA_MEMORY_CUDART: simulatorPath };
  const argv = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  process.execve?.(process.execPath, argv, env);
  throw new DemoFailure("this Bun cannot start again: it has no process.execve");
}

/** The GPU where there is one; otherwise the simulator, unless the user chose a runtime. */
function chooseRuntime(): void {
  const chosen = process.env["BUN_CUDA_MEMORY_CUDART"];
  const gpus = getSupportedGpus();
  if (!chosen && gpus.length === 0) startAgainWithSimulator();
  const runtime = chosen ? relative(process.cwd(), chosen) : "the system's";
  console.log(`CUDA runtime: ${runtime}, supported GPUs: ${gpus.join(", ") || "none"}`);
}

async function main(argv: string[]): Promise<void> {
  const notes = new Notes();
  const { title, events } = await workloadOf(parseTrace(argv));
  chooseRuntime();
  notes.collect();
  try {
    await demonstrateService(notes);
    demonstrateReplay(title, events, notes);
  } finally {
    notes.print();
  }
}

function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError || error instanceof RmmLogError) return 2;
  return 1;
}

/** An error of the demo's own says all; of any other it is worth knowing where it was thrown. */
function describe(error: unknown): unknown {
  const isExpected =
    error instanceof UsageError || error instanceof RmmLogError || error instanceof DemoFailure;
  return isExpected ? error.message : error;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error("demo failed:", describe(error));
  process.exitCode = exitCodeOf(error);
}
