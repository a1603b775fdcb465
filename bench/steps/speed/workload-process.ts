import { type Contestant, orderOfRound } from "../../../harness/timing/rounds.ts";
import { calibrated } from "../../../harness/timing/calibrated.ts";
import { prepareContestants } from "./contestants.ts";
import type { WorkloadAnswer, WorkloadOrder } from "./workloads.ts";

// The process of one workload: prepares it, then measures a round whenever it is asked.

function answer(message: WorkloadAnswer): void {
  process.send!(message);
}

async function prepare({ workload, sliceNanoseconds }: WorkloadOrder): Promise<Contestant[]> {
  const { timed, notes } = await prepareContestants(workload);
  const prepared = timed.map((pairs) => calibrated(pairs, sliceNanoseconds));
  answer({ kind: "ready", notes });
  return prepared;
}

async function measureRound(contestants: readonly Contestant[], round: number): Promise<void> {
  const figures: Record<string, number> = {};
  for (const { name, measure } of orderOfRound(contestants, round)) figures[name] = await measure();
  answer({ kind: "round", figures });
}

let contestants: Contestant[] | undefined;
let round = 0;

// The first message is the order, every other one asks for a round.
process.on("message", async (message: unknown) => {
  try {
    if (contestants === undefined) contestants = await prepare(message as WorkloadOrder);
    else await measureRound(contestants, round++);
  } catch (error) {
    answer({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
});
