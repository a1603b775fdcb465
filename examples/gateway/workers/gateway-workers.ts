import type { GatewayOptions } from "../gateway.ts";
import type { Scheduler } from "../scheduler.ts";
import { GatewayWorker } from "./gateway-worker.ts";
import type { ToWorker } from "./messages.ts";

const readinessMilliseconds = 500;
/** How many Workers may fail in one place, one after the other, none of which has served anybody. */
const failureCountMax = 3;
/** What a Worker has to end in, beyond the time that its requests have. */
const endMilliseconds = 2000;

/**
 * A gateway whose clients are spread over Workers: they read, check and answer requests, and this
 * thread computes what all of them have received, together. Where a Worker fails, its clients lose
 * their connections, and another takes its place.
 */
export class GatewayWorkers {
  /** Where all of them listen, ending with a slash. */
  readonly url: string;
  readonly #startWorker: () => GatewayWorker;
  readonly #workers = new Set<GatewayWorker>();
  readonly #places: readonly Promise<void>[];
  readonly #timer: Timer;
  #isStopping = false;

  private constructor(
    url: string,
    workers: readonly GatewayWorker[],
    scheduler: Scheduler,
    startWorker: () => GatewayWorker,
  ) {
    this.url = url;
    this.#startWorker = startWorker;
    this.#places = workers.map((worker) => this.#keepFilled(worker));
    for (const place of this.#places) place.catch(() => {}); // whoever waits for them learns of it
    this.#timer = setInterval(
      () => this.#post({ kind: "readiness", isReady: scheduler.isReady() }),
      readinessMilliseconds,
    );
  }

  /**
   * The memory managers and the scheduler must have been made, and must outlive the Workers.
   *
   * @throws what the first Worker fails with that cannot listen.
   */
  static async start(
    count: number,
    scheduler: Scheduler,
    options: GatewayOptions,
  ): Promise<GatewayWorkers> {
    const models = [...scheduler.models.values()];
    const shared = { ...options, reusePort: true };
    const first = new GatewayWorker(scheduler, { models, options: shared });
    const workers = [first];
    try {
      const url = await first.url;
      const port = Number(new URL(url).port || 80); // any free port is the same one for all of them
      const startWorker = () =>
        new GatewayWorker(scheduler, { models, options: { ...shared, port } });
      while (workers.length < count) workers.push(startWorker());
      await Promise.all(workers.map((worker) => worker.url));
      return new GatewayWorkers(url, workers, scheduler, startWorker);
    } catch (error) {
      for (const worker of workers) worker.terminate();
      await Promise.all(workers.map((worker) => worker.ended));
      throw error;
    }
  }

  /** Rejected when Workers fail so often that another one would not help. */
  get failed(): Promise<unknown> {
    return Promise.all(this.#places);
  }

  /** Sees to it that there is another Worker when this one fails, and so on. */
  async #keepFilled(worker: GatewayWorker): Promise<void> {
    let failureCount = 0;
    for (let current = worker; ; current = this.#startWorker()) {
      this.#workers.add(current);
      const reason = await current.ended;
      this.#workers.delete(current);
      if (this.#isStopping) return;
      failureCount = current.hasServed ? 0 : failureCount + 1;
      if (failureCount === failureCountMax) {
        const what = `${failureCount} Workers have failed that had served nobody`;
        throw new Error(`${what}, the last with: ${reason.message}`, { cause: reason });
      }
      console.error("a Worker has failed, and another takes its place:", reason);
    }
  }

  #post(message: ToWorker): void {
    for (const worker of this.#workers) worker.post(message);
  }

  /** As `Gateway.stop`, of all Workers at once. Those that do not end then are terminated. */
  async stop(graceMilliseconds = 0): Promise<void> {
    this.#isStopping = true;
    clearInterval(this.#timer);
    this.#post({ kind: "stop", graceMilliseconds });
    const timer = setTimeout(() => {
      for (const worker of this.#workers) worker.terminate();
    }, graceMilliseconds + endMilliseconds);
    await Promise.allSettled(this.#places);
    clearTimeout(timer);
  }
}
