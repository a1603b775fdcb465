import { AllocatedMemory } from "bun-cuda-memory";
import type { Model } from "../engine/engine.ts";
import { HttpError } from "../http-error.ts";
import type { ComputeRequest, Scheduler } from "../scheduler.ts";
import type { Attached, RequestMessage, ToWorker } from "./messages.ts";

/** The scheduler of a Worker, which sends requests to the thread that has the engine. */
export class RemoteScheduler implements Scheduler {
  readonly models: ReadonlyMap<string, Model>;
  readonly #postMessage: (message: RequestMessage & Attached) => void;
  readonly #waiting = new Map<number, PromiseWithResolvers<AllocatedMemory>>();
  #attachedCount = 0;
  #isReady = true;
  #lastId = 0;

  constructor(models: readonly Model[], postMessage: (message: RequestMessage & Attached) => void) {
    this.models = new Map(models.map((model) => [model.name, model]));
    this.#postMessage = postMessage;
  }

  isReady(): boolean {
    return this.#isReady;
  }

  expect(modelName: string): Disposable {
    // An engine that computes each request alone waits for none.
    if (this.models.get(modelName)!.maxBatchSize <= 1) return { [Symbol.dispose]: () => {} };
    const id = ++this.#lastId;
    this.#post({ kind: "expect", id, modelName });
    // Behind the request, so that the engine's thread always knows of one of the two.
    const end = () => queueMicrotask(() => this.#post({ kind: "expect no more", id }));
    return { [Symbol.dispose]: end };
  }

  async compute(
    request: ComputeRequest,
    memory: AllocatedMemory,
    signal: AbortSignal,
  ): Promise<AllocatedMemory> {
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<AllocatedMemory>();
    this.#waiting.set(id, answer);
    this.#post({ kind: "compute", id, request, handle: memory.detach() });
    const abort = () => this.#post({ kind: "abort", id });
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    try {
      return await answer.promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Takes what the engine's thread has sent. */
  receive(message: Exclude<ToWorker, { kind: "stop" }>): void {
    if (message.kind === "readiness") {
      this.#isReady = message.isReady;
      return;
    }
    const answer = this.#waiting.get(message.id)!;
    this.#waiting.delete(message.id);
    if (message.kind === "computed") {
      const memory = AllocatedMemory.attach(message.handle);
      this.#attachedCount++;
      answer.resolve(memory);
    } else {
      const { status, message: text, headers } = message.error;
      answer.reject(new HttpError(status, text, headers));
    }
  }

  #post(message: RequestMessage): void {
    this.#postMessage({ ...message, attachedCount: this.#attachedCount });
  }
}
