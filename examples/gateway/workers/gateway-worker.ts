import { Worker } from "node:worker_threads";
import type { Scheduler } from "../scheduler.ts";
import type { FromWorker, ToWorker, WorkerStart } from "./messages.ts";
import { WorkerRequests } from "./worker-requests.ts";

/** A Worker with its own server, seen from the thread that has the engine. */
export class GatewayWorker {
  readonly #worker: Worker;
  readonly #requests: WorkerRequests;
  readonly #url = Promise.withResolvers<string>();
  readonly #ended = Promise.withResolvers<Error>();

  constructor(scheduler: Scheduler, start: WorkerStart) {
    let reason = new Error("a Worker of the gateway has ended");
    this.#requests = new WorkerRequests(scheduler, (message) => this.post(message));
    this.#url.promise.catch(() => {}); // whoever waits for it learns of it
    this.#worker = new Worker(new URL("worker.ts", import.meta.url), { workerData: start });
    this.#worker.on("message", (message: FromWorker) => {
      if (message.kind === "listening") this.#url.resolve(message.url);
      else this.#requests.receive(message);
    });
    this.#worker.on("error", (error) => (reason = error as Error));
    // All that it had sent has come by then.
    this.#worker.on("exit", () => {
      this.#requests[Symbol.dispose]();
      this.#url.reject(reason);
      this.#ended.resolve(reason);
    });
  }

  /** Where it listens. Rejected where it ends before. */
  get url(): Promise<string> {
    return this.#url.promise;
  }

  /** Resolves with the reason when it has ended, whoever ended it. */
  get ended(): Promise<Error> {
    return this.#ended.promise;
  }

  /** Whether any request of its clients was computed. */
  get hasServed(): boolean {
    return this.#requests.hasServed;
  }

  post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  /**
   * Ends it in the middle of whatever it does. Where that is between detaching memory and posting its
   * handle, the memory stays until its manager is reset: this is for a process that ends too.
   */
  terminate(): void {
    void this.#worker.terminate();
  }
}
