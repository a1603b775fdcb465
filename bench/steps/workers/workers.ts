import { CudaMemoryManager } from "bun-cuda-memory";
import { limitOf } from "../../../harness/run/findings.ts";
import { formatFigures, formatNote } from "../../../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../../../harness/text/table.ts";
import type { Figures } from "../../../harness/timing/figures.ts";
import { runRounds } from "../../../harness/timing/rounds.ts";
import { median, ratios } from "../../../harness/timing/statistics.ts";
import { replacementPoolByteSize } from "../../../harness/workloads/replacement.ts";
import type { BenchContext, BenchStep } from "../../context.ts";
import { createPool } from "../speed/pool-source.ts";
import type { ReplaceOrder, WorkerOrder } from "./replacing-worker.ts";

// The same work, done by one Worker and by eight at once, which contend for the pool's lock and for
// the processors.

const workerCount = 8;
const liveBlockCount = 512;
const warmUpRoundCount = 3;

/** A seed for each lot of live blocks. */
const seeds = Array.from({ length: workerCount }, (_, index) => index + 1);

const solo = "1 Worker";
const together = `${workerCount} Workers`;

const row = "all pairs, all lots";
const unit = "ns per pair";

/** A Worker that answers each order when it has done it. */
class ReplacingWorker {
  readonly #worker = new Worker(new URL("replacing-worker.ts", import.meta.url).href);

  do(order: WorkerOrder | ReplaceOrder): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#worker.onmessage = () => resolve();
    this.#worker.onerror = ({ message }) => reject(new Error(`a Worker failed: ${message}`));
    this.#worker.postMessage(order);
    return promise;
  }

  end(): void {
    this.#worker.terminate();
  }
}

/** Returns the nanoseconds until the last of the Workers is done. */
async function timeAll(workers: readonly ReplacingWorker[], order: ReplaceOrder): Promise<number> {
  const start = Bun.nanoseconds();
  await Promise.all(workers.map((worker) => worker.do(order)));
  return Bun.nanoseconds() - start;
}

/** The one Worker that does all lots and the many that do one each, all with their live blocks. */
class Crew implements Disposable {
  readonly one = new ReplacingWorker();
  readonly many = seeds.map(() => new ReplacingWorker());

  async prepare(): Promise<void> {
    await this.one.do({ seeds, liveBlockCount });
    for (const [index, worker] of this.many.entries()) {
      await worker.do({ seeds: [seeds[index]!], liveBlockCount });
    }
  }

  [Symbol.dispose](): void {
    for (const worker of [this.one, ...this.many]) worker.end();
  }
}

async function measure({
  options: { roundCount = 21, isQuick },
  progress,
}: BenchContext): Promise<Figures> {
  using crew = new Crew();
  await crew.prepare();
  const pairCountPerLot = isQuick ? 2000 : 80_000;
  const perPair = async (workers: readonly ReplacingWorker[]) =>
    (await timeAll(workers, { pairCountPerLot })) / (workerCount * pairCountPerLot);
  const contestants = [
    { row, name: solo, measure: () => perPair([crew.one]) },
    { row, name: together, measure: () => perPair(crew.many) },
  ];
  await runRounds(contestants, unit, warmUpRoundCount, () => progress.show("workers: warming up"));
  return await runRounds(contestants, unit, roundCount, (done) =>
    progress.showShare("workers: round", done, roundCount),
  );
}

const columns: readonly Column[] = [
  { title: unit, width: 21, align: "left" },
  { title: solo, width: 12, align: "right" },
  { title: together, width: 12, align: "right" },
  { title: "ratio", width: 12, align: "right" },
];

function table(figures: Figures, ratio: readonly number[]): string {
  const [one, many] = [figures.roundsOf(row, solo), figures.roundsOf(row, together)];
  const cells = [one, many, ratio].map(formatFigures);
  return `${tableHead(columns)}\n${tableLine(columns, [row, ...cells])}`;
}

const explanation =
  `${workerCount} lots of ${liveBlockCount} live blocks of one pool, log-uniform 512 B-256 KiB, ` +
  "one drawn at random replaced by another: one Worker does a lot after the other, or each of " +
  `${workerCount} Workers does one. The time until all are done, over the number of all pairs.`;

export const workers: BenchStep = {
  name: "workers",
  title: `The same work by one Worker and by ${workerCount}`,
  async run(context) {
    createPool(replacementPoolByteSize(2 * workerCount * liveBlockCount));
    try {
      const figures = await measure(context);
      const ratio = ratios(figures.roundsOf(row, together), figures.roundsOf(row, solo));
      context.print(`${table(figures, ratio)}\n\n${formatNote(explanation)}`);
      context.add(...figures.all, limitOf(`${together} / ${solo}`, median(ratio), 1.5));
      return { workerCount, liveBlockCount };
    } finally {
      CudaMemoryManager.reset();
    }
  },
};
