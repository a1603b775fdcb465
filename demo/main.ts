import { getSupportedGpus } from "bun-cuda-memory";
import { relative } from "node:path";
import { parseArgs } from "node:util";
import type { AllocationEvents } from "../examples/replay/allocation-events.ts";
import { readRmmLog, RmmLogError } from "../examples/replay/rmm-log.ts";
import { chosenRuntimePath, startAgainOnSimulator } from "../harness/cuda-runtime.ts";
import { blamingArguments } from "../harness/run/errors.ts";
import { parseOrExplain } from "../harness/run/options.ts";
import { runMain } from "../harness/run/program-main.ts";
import { servingWorkload } from "../harness/workloads/serving.ts";
import { Notes } from "./notes.ts";
import { demonstrateReplay } from "./replay-demo.ts";
import { demonstrateGateway } from "./gateway-demo.ts";

// `make demo`, or `bun demo/main.ts [--trace FILE]`: sends real files through the gateway,
// then replays a workload (by default that of a server that runs inference; otherwise an RMM log,
// plain or gzipped) with pools of two sizes.
//
// It ends with 0 where all went well, 1 where a byte differed, memory was left over or something
// failed, and 2 where it was not called properly.

interface Workload {
  title: string;
  events: AllocationEvents;
}

const usage = "usage: bun demo/main.ts [--trace FILE]";

function parseTrace(argv: string[]): string | undefined {
  return parseOrExplain(
    usage,
    () => parseArgs({ args: argv, options: { trace: { type: "string" } } }).values.trace,
  );
}

/** @throws {UsageError} for a trace that cannot be read. */
async function workloadOf(trace: string | undefined): Promise<Workload> {
  if (trace !== undefined) {
    const events = await blamingArguments(RmmLogError, () => readRmmLog(trace));
    return { title: trace, events };
  }
  return { title: "a server that runs inference, 4,000 requests", events: servingWorkload() };
}

/** Uses the GPU where there is one, otherwise the simulator, unless the user chose a runtime. */
function chooseRuntime(): void {
  const chosen = chosenRuntimePath();
  const gpus = getSupportedGpus();
  if (chosen === undefined && gpus.length === 0) {
    console.log("No GPU here that CUDA can use: starting again with the CUDA simulator.");
    startAgainOnSimulator();
  }
  const runtime = chosen === undefined ? "the system's" : relative(process.cwd(), chosen);
  console.log(`CUDA runtime: ${runtime}, supported GPUs: ${gpus.join(", ") || "none"}`);
}

async function main(argv: string[]): Promise<void> {
  const notes = new Notes();
  const { title, events } = await workloadOf(parseTrace(argv));
  chooseRuntime();
  notes.collect();
  try {
    await demonstrateGateway(notes);
    demonstrateReplay(title, events, notes);
  } finally {
    notes.print();
  }
}

await runMain("demo", main);
