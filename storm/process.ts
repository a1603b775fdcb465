import {
  AllocatedMemory,
  CudaMemoryManager,
  PinnedMemoryManager,
  setLogger,
} from "bun-cuda-memory";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { tell } from "../harness/child/messages.ts";
import { endedOnPurpose } from "./endings.ts";
import { Board, mainThreadIndex } from "./events.ts";
import type { StormMessage } from "./messages.ts";
import { attachMemory } from "./operations/pass-on.ts";
import type { StormOptions } from "./options.ts";
import { checkQuiet } from "./quiet.ts";
import { Random } from "./random.ts";
import { drawPools, planOf, type RoundPlan } from "./round.ts";
import type { Parcel, ThreadMessage } from "./thread.ts";
import { reportFailure, type WorkerTask } from "./worker.ts";

// The process in which the storm blows, a child of `storm/main.ts`: its main thread starts Workers,
// ends them, carries what they send each other, and looks around once all have ended.

const workerPath = join(import.meta.dir, "worker.ts");

class StormRound {
  readonly #board: Board;
  readonly #boardPath: string;
  readonly #plan: RoundPlan;
  readonly #workers: (Worker | null)[];
  #hasTerminated = false;
  /** Everything that was sent, since the receiver may end before it has it. */
  readonly #handles: unknown[] = [];

  constructor(board: Board, boardPath: string, plan: RoundPlan) {
    this.#board = board;
    this.#boardPath = boardPath;
    this.#plan = plan;
    this.#workers = Array.from({ length: plan.threadCount }, () => null);
  }

  async run(): Promise<void> {
    const { number, seed, hasFaults, hasResets, threadCount } = this.#plan;
    this.#board.beginRound(number);
    const pools = drawPools(new Random(seed));
    const kinds = `${hasFaults ? "with" : "without"} faults, ${hasResets ? "with" : "without"} resets`;
    this.#note(`round ${number} ${kinds}, pools ${JSON.stringify(pools)}`);
    CudaMemoryManager.create({ memoryPoolByteSize: pools.cuda });
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pools.pinnedByteSize });
    await Promise.all(Array.from({ length: threadCount }, (_, index) => this.#liveAsThread(index)));
    this.#note("all Workers have ended");
    this.#freeDetached();
    await checkQuiet(this.#board, this.#plan, this.#hasTerminated);
    tell<StormMessage>({ kind: "round", round: number });
  }

  #note(text: string): void {
    this.#board.beginEvent(mainThreadIndex, text);
  }

  async #liveAsThread(threadIndex: number): Promise<void> {
    for (let life = 0; life < this.#plan.lifeCount; life++) await this.#live(threadIndex, life);
  }

  async #live(threadIndex: number, life: number): Promise<void> {
    this.#note(`begin of life ${life} of thread ${threadIndex}`);
    const task: WorkerTask = {
      boardPath: this.#boardPath,
      round: this.#plan,
      threadIndex,
      life,
    };
    const worker = new Worker(workerPath, { workerData: task });
    this.#workers[threadIndex] = worker;
    worker.on("message", (message: ThreadMessage) => void this.#answer(worker, message));
    worker.on("error", (error: Error) => {
      if (error.message.includes(endedOnPurpose)) return;
      reportFailure(this.#board, threadIndex, error);
    });
    await new Promise<void>((resolve) => worker.on("exit", () => resolve()));
    this.#workers[threadIndex] = null;
    this.#note(`end of life ${life} of thread ${threadIndex}`);
  }

  async #answer(worker: Worker, message: ThreadMessage): Promise<void> {
    if (message.kind === "parcel") return this.#passOn(message.to, message.parcel);
    await Bun.sleep(message.afterMilliseconds);
    this.#note("terminate a Worker");
    this.#hasTerminated = true;
    await worker.terminate();
  }

  #passOn(to: number, parcel: Parcel): void {
    if (parcel.kind === "memory") this.#handles.push(parcel.handle);
    const transferred = parcel.kind === "buffer" ? [parcel.buffer] : [];
    this.#workers[to]?.postMessage(parcel, transferred);
  }

  /** Frees what was detached and never attached. */
  #freeDetached(): void {
    for (const handle of this.#handles) {
      let memory: AllocatedMemory;
      try {
        memory = attachMemory(handle);
      } catch {
        continue; // attached, or gone with a reset
      }
      memory.free();
    }
  }
}

async function main(): Promise<void> {
  const [boardPath, json] = process.argv.slice(2);
  const options = JSON.parse(json!) as StormOptions & { roundCount: number | null };
  const board = new Board(boardPath!);
  setLogger({ info: () => {}, warn: () => {}, error: () => {} });
  const end = options.firstRound + (options.roundCount ?? Infinity); // JSON has no infinity
  try {
    for (let number = options.firstRound; number < end && !board.isTimeUp; number++) {
      await new StormRound(board, boardPath!, planOf(options, number)).run();
    }
  } catch (error) {
    reportFailure(board, mainThreadIndex, error);
  }
}

await main();
