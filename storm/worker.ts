import { setLogger } from "bun-cuda-memory";
import { parentPort, workerData } from "node:worker_threads";
import { tell } from "../harness/child/messages.ts";
import { drawEnding, endedOnPurpose, endings } from "./endings.ts";
import { Board } from "./events.ts";
import { StormFailure, textOfError } from "./failure.ts";
import type { StormMessage } from "./messages.ts";
import { operationsOf } from "./operations/table.ts";
import { Random, seedOf } from "./random.ts";
import type { RoundPlan } from "./round.ts";
import { type Parcel, StormThread } from "./thread.ts";

// A Worker of the storm: one life of one of its threads.

export interface WorkerTask {
  readonly boardPath: string;
  readonly round: RoundPlan;
  readonly threadIndex: number;
  readonly life: number;
}

/** Tells the parent what is wrong, once, and waits for the end of the process. */
export function reportFailure(board: Board, threadIndex: number, error: unknown): never {
  if (board.fail()) {
    const isFailure = error instanceof StormFailure;
    tell<StormMessage>({
      kind: "failure",
      threadIndex,
      expected: isFailure ? error.expected : "no error that the storm knows nothing of",
      seen: isFailure ? error.seen : textOfError(error),
      stack: error instanceof Error ? (error.stack ?? "") : "",
    });
  }
  for (;;) Bun.sleepSync(1000);
}

async function live(thread: StormThread): Promise<void> {
  const random = new Random(thread.seed);
  const operations = operationsOf(thread.round);
  const weight = operations.reduce((sum, operation) => sum + operation.weight, 0);
  const stepCount = random.byteSize(20, 1500);
  const ending = drawEnding(random, thread.round);
  for (let step = 0; step < stepCount || thread.isDigestClosed; step++) {
    thread.random = new Random(seedOf(thread.seed, step));
    let at = thread.random.below(weight * 1000) / 1000;
    const operation = operations.find((candidate) => (at -= candidate.weight) < 0)!;
    await operation.run(thread);
    // What is under way goes on only while nothing else is done.
    if (thread.random.chance(0.1)) await new Promise((resolve) => setImmediate(resolve));
    if (step === stepCount - 1) await endings[ending](thread);
  }
}

function watchLog(thread: StormThread): void {
  setLogger({
    info: () => {},
    warn: () => {},
    error: (message) => {
      if (thread.mayLogErrors || /2\*\*52|4503599627370496/.test(message)) return;
      reportFailure(thread.board, thread.index, new StormFailure("no error in the log", message));
    },
  });
}

if (parentPort !== null) {
  const port = parentPort;
  const { boardPath, round, threadIndex, life } = workerData as WorkerTask;
  const board = new Board(boardPath);
  const thread = new StormThread(board, round, threadIndex, life, (message, transfer) =>
    port.postMessage(message, transfer ?? []),
  );
  watchLog(thread);
  port.on("message", (parcel: Parcel) => thread.inbox.push(parcel));
  const fail = (error: unknown) => {
    if (error instanceof Error && error.message === endedOnPurpose) throw error;
    reportFailure(board, threadIndex, error);
  };
  await live(thread).catch(fail);
  // Whatever a thread that ends by itself still holds, and has under way, ends with it.
  if (thread.isAbandoned) process.exit(0);
  port.close();
}
