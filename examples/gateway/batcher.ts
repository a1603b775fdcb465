import { CudaStream } from "bun-cuda-memory";
import { BatchBuffer, type Job } from "./batch-buffer.ts";
import type { Engine, Model, Tensor } from "./engine/engine.ts";
import { FairQueue } from "./fair-queue.ts";

/** One request for an engine. Its memory stays until {@link Batcher.submit} is settled. */
export interface SubmittedJob extends Job {
  /** Whose it is: the owners take turns. */
  owner: string;
  /** One that is aborted before its turn is not computed. */
  signal: AbortSignal;
}

interface QueuedJob extends SubmittedJob {
  resolve(): void;
  reject(reason: unknown): void;
}

/** How long an engine that is free may be kept waiting for requests that are about to be here. */
const fillMillisecondsMax = 2;

/** Whether the rows of two requests can be those of one tensor. */
function areAlike(one: Job, other: Job): boolean {
  return one.inputs.every(({ shape }, index) => {
    const otherShape = other.inputs[index]!.shape;
    return String(shape.slice(1)) === String(otherShape.slice(1));
  });
}

/**
 * The requests of one model on their way through the engine. One that is idle has a request at once.
 * What comes while it works is computed together, where the model allows it; then, and only then, it
 * waits a moment for those whose bodies are coming in.
 */
export class Batcher implements AsyncDisposable {
  readonly #engine: Engine;
  readonly #model: Model;
  readonly #stream: CudaStream | null;
  readonly #buffer: BatchBuffer | null;
  readonly #queue = new FairQueue<QueuedJob>();
  #comingCount = 0;
  #arrival = Promise.withResolvers<void>();
  /** What the engine does at present. */
  #running: Promise<void> | null = null;

  /** @param batchByteSize Bytes for the tensors of a batch, if the model allows batches. */
  constructor(engine: Engine, model: Model, batchByteSize: number) {
    const isOnGpu = model.memoryType === "GPU";
    const isGathering = isOnGpu || model.maxBatchSize > 0;
    this.#engine = engine;
    this.#model = model;
    this.#buffer = isGathering ? new BatchBuffer(model, batchByteSize) : null;
    this.#stream = isOnGpu ? new CudaStream(model.memoryTypeId) : null;
  }

  /** Says that a request is coming, until the disposable that is returned is disposed of. */
  expect(): Disposable {
    this.#comingCount++;
    return {
      [Symbol.dispose]: () => {
        this.#comingCount--;
        this.#arrival.resolve(); // where it was the last, nobody is waited for any more
      },
    };
  }

  /**
   * Computes the outputs of a request.
   *
   * @throws the signal's reason, or what the engine fails with.
   */
  submit(job: SubmittedJob): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#queue.push({ ...job, resolve, reject });
    this.#arrival.resolve();
    this.#running ??= this.#run();
    return promise;
  }

  async #run(): Promise<void> {
    for (let jobs = this.#take(); jobs.length > 0; jobs = this.#take()) {
      await this.#computeOrReject(jobs);
      await this.#fill();
    }
    this.#running = null;
  }

  /** Waits while requests are coming that the next batch has room for. */
  async #fill(): Promise<void> {
    const timeout = performance.now() + fillMillisecondsMax;
    while (this.#comingCount > 0 && this.#queue.length < this.#model.maxBatchSize) {
      const milliseconds = timeout - performance.now();
      if (this.#queue.length === 0 || milliseconds <= 0) return;
      this.#arrival = Promise.withResolvers();
      await Promise.race([this.#arrival.promise, Bun.sleep(milliseconds)]);
    }
  }

  /** The jobs of the next batch, or the one that is next; none where nobody waits. */
  #take(): QueuedJob[] {
    const first = this.#next(() => true);
    if (first === undefined) return [];
    const jobs = [first];
    const buffer = this.#buffer;
    if (buffer === null || this.#model.maxBatchSize === 0) return jobs;
    let rowCount = 0;
    const byteSizes = this.#tensorsOf(first).map(() => 0);
    const add = (job: Job) => {
      rowCount += job.inputs[0]!.shape[0]!;
      for (const [index, { memory }] of this.#tensorsOf(job).entries()) {
        byteSizes[index]! += memory.totalByteSize;
      }
    };
    const fits = (job: Job) =>
      areAlike(first, job) &&
      rowCount + job.inputs[0]!.shape[0]! <= this.#model.maxBatchSize &&
      this.#tensorsOf(job).every(
        ({ memory }, index) => byteSizes[index]! + memory.totalByteSize <= buffer.tensorByteSizeMax,
      );
    add(first);
    for (let job = this.#next(fits); job !== undefined; job = this.#next(fits)) {
      add(job);
      jobs.push(job);
    }
    return jobs;
  }

  #tensorsOf({ inputs, outputs }: Job): readonly Tensor[] {
    return this.#model.isInPlace ? inputs : [...inputs, ...outputs];
  }

  /** The next job that fits and is still wanted. */
  #next(fits: (job: Job) => boolean): QueuedJob | undefined {
    for (;;) {
      const job = this.#queue.shift((each) => each.signal.aborted || fits(each));
      if (job === undefined || !job.signal.aborted) return job;
      job.reject(job.signal.reason);
    }
  }

  async #computeOrReject(jobs: readonly QueuedJob[]): Promise<void> {
    try {
      await this.#compute(jobs);
      for (const { resolve } of jobs) resolve();
    } catch (error) {
      // Whoever is rejected frees memory, of which the GPU may still have some.
      await this.#stream?.finished().catch(() => {});
      for (const { reject } of jobs) reject(error);
    }
  }

  async #compute(jobs: readonly Job[]): Promise<void> {
    const stream = this.#stream;
    const [first] = jobs;
    if (jobs.length === 1 && this.#isAtHand(first!)) {
      await this.#engine.execute(this.#model, first!.inputs, first!.outputs, stream);
    } else {
      const inputs = this.#buffer!.gather(jobs, stream);
      const outputs = this.#buffer!.outputsOf(inputs);
      await this.#engine.execute(this.#model, inputs, outputs, stream);
      this.#buffer!.scatter(outputs, jobs, stream);
    }
    await stream?.finished();
  }

  /** Whether the engine can work on a job's own memory. */
  #isAtHand(job: Job): boolean {
    const { memoryType } = this.#model;
    return this.#tensorsOf(job).every(({ memory }) => memory.memoryType === memoryType);
  }

  /** Waits for all that was submitted. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running;
    this.#stream?.[Symbol.dispose]();
    this.#buffer?.[Symbol.dispose]();
  }
}
