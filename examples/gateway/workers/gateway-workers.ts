import { AllocatedMemory } from "bun-cuda-memory";
import { Worker } from "node:worker_threads";
import type { GatewayOptions } from "../gateway.ts";
import { httpErrorOf } from "../http-error.ts";
import type { Scheduler } from "../scheduler.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./messages.ts";

const readinessMilliseconds = 500;

/** A request that is on its way to the engine is not called back. */
const never = new AbortController().signal;

/** A Worker with its own server, seen from the thread that has the engine. */
class GatewayWorker {
  readonly #scheduler: Scheduler;
  readonly #worker: Worker;
  readonly #url = Promise.withResolvers<string>();
  readonly #ended = Promise.withResolvers<void>();
  #isStopping = false;

  constructor(scheduler: Scheduler, start: WorkerStart) {
    this.#scheduler = scheduler;
    // Whoever waits for them learns of it.
    for (const { promise } of [this.#url, this.#ended]) promise.catch(() => {});
    this.#worker = new Worker(new URL("worker.ts", import.meta.url), { workerData: start });
    this.#worker.on("message", (message: FromWorker) => void this.#receive(message));
    this.#worker.on("error", (error) => this.#fail(error as Error));
    this.#worker.on("exit", () => this.#fail(new Error("a Worker of the gateway has ended")));
  }

  /** Where it listens. */
  get url(): Promise<string> {
    return this.#url.promise;
  }

  /** Resolved when it was stopped, and rejected when it ends by itself. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  post(message: ToWorker): void {
    this.#isStopping ||= message.kind === "stop";
    this.#worker.postMessage(message);
  }

  #fail(error: Error): void {
    if (this.#isStopping) this.#ended.resolve();
    this.#url.reject(error);
    this.#ended.reject(error);
  }

  async #receive(message: FromWorker): Promise<void> {
    if (message.kind === "listening") this.#url.resolve(message.url);
    else if (message.kind === "stopped") this.#ended.resolve();
    else await this.#compute(message);
  }

  async #compute({ id, request, handle }: FromWorker & { kind: "compute" }): Promise<void> {
    try {
      const memory = AllocatedMemory.attach(handle);
      const computed = await this.#scheduler.compute(request, memory, never);
      this.post({ kind: "computed", id, handle: computed.detach() });
    } catch (error) {
      const { status, message, headers } = httpErrorOf(error);
      this.post({ kind: "failed", id, error: { status, message, headers } });
    }
  }
}

/**
 * A gateway whose clients are spread over Workers: they read, check and answer requests, and this
 * thread computes what all of them have received, together.
 */
export class GatewayWorkers {
  /** Where all of them listen, ending with a slash. */
  readonly url: string;
  readonly #workers: readonly GatewayWorker[];
  readonly #timer: Timer;

  private constructor(url: string, workers: readonly GatewayWorker[], scheduler: Scheduler) {
    this.url = url;
    this.#workers = workers;
    this.#timer = setInterval(
      () => this.#post({ kind: "readiness", isReady: scheduler.isReady() }),
      readinessMilliseconds,
    );
  }

  /** The memory managers and the scheduler must have been made, and must outlive the Workers. */
  static async start(
    count: number,
    scheduler: Scheduler,
    options: GatewayOptions,
  ): Promise<GatewayWorkers> {
    const models = [...scheduler.models.values()];
    const start = (port: number | undefined) =>
      new GatewayWorker(scheduler, {
        models,
        options: { ...options, reusePort: true, ...(port !== undefined && { port }) },
      });
    const first = start(options.port);
    const url = await first.url; // any free port is the same one for all of them
    const others = Array.from({ length: count - 1 }, () => start(Number(new URL(url).port)));
    await Promise.all(others.map((worker) => worker.url));
    return new GatewayWorkers(url, [first, ...others], scheduler);
  }

  /** Rejected when a Worker ends that was not stopped: what it had is lost. */
  get failed(): Promise<void> {
    return Promise.race(this.#workers.map(({ ended }) => ended));
  }

  #post(message: ToWorker): void {
    for (const worker of this.#workers) worker.post(message);
  }

  /** As `Gateway.stop`, of all Workers at once. */
  async stop(graceMilliseconds = 0): Promise<void> {
    clearInterval(this.#timer);
    this.#post({ kind: "stop", graceMilliseconds });
    await Promise.allSettled(this.#workers.map(({ ended }) => ended));
  }
}
