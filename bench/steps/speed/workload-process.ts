import { requests, tell } from "../../../harness/child/messages.ts";
import { calibrated } from "../../../harness/timing/calibrated.ts";
import { type Contestant, orderOfRound } from "../../../harness/timing/rounds.ts";
import { prepareContestants } from "./contestants.ts";
import type { RoundValue, WorkloadAnswer, WorkloadOrder } from "./workloads.ts";

// The process of one workload: prepares it, then measures a round whenever it is asked.
//
//   bun workload-process.ts ORDER, as JSON

async function prepare({ workload, sliceNanoseconds }: WorkloadOrder): Promise<Contestant[]> {
  const { timed, notes } = await prepareContestants(workload);
  const prepared = timed.map((pairs) => calibrated(pairs, sliceNanoseconds));
  tell<WorkloadAnswer>({ kind: "ready", notes });
  return prepared;
}

async function measureRound(contestants: readonly Contestant[], round: number): Promise<void> {
  const values: RoundValue[] = [];
  for (const { row, name, measure } of orderOfRound(contestants, round)) {
    values.push({ row, contestant: name, nanosecondsPerPair: await measure() });
  }
  tell<WorkloadAnswer>({ kind: "round", values });
}

const contestants = await prepare(JSON.parse(process.argv[2]!) as WorkloadOrder);
let round = 0;
for await (const _request of requests<"round">()) await measureRound(contestants, round++);
process.exit(); // nobody asks any more, and millions of blocks need not be freed
