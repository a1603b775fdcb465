import { requests, tell } from "../../../harness/child/messages.ts";
import { closedLoop, type Outcome, Requests } from "./requests.ts";
import { tenants } from "./tenants.ts";

// The greedy tenant, in a process of its own so that it keeps nobody but the gateway busy: as many
// requests at once as it may have open, each of up to a megabyte. It goes on until it is asked what
// became of them.

export interface GreedyRequest {
  url?: string;
}

export type GreedyAnswer =
  | { kind: "begun" }
  | { kind: "ended"; outcome: Omit<Outcome, "latencies"> & { answeredCount: number } };

const connectionCount = 32;
const sizes = { byteSizeMin: 4 * 1024, byteSizeMax: 256 * 1024 };

let isDone = false;
let running = Promise.resolve();
let load: Requests | null = null;

for await (const { url } of requests<GreedyRequest>()) {
  if (url !== undefined) {
    const begun = (load = new Requests(url, tenants.greedy.key, sizes));
    running = closedLoop(
      connectionCount,
      () => isDone,
      () => begun.identity(),
    );
    tell<GreedyAnswer>({ kind: "begun" });
  } else {
    isDone = true;
    await running;
    const { latencies, ...outcome } = load!.outcome;
    tell<GreedyAnswer>({
      kind: "ended",
      outcome: { ...outcome, answeredCount: latencies.length },
    });
  }
}
