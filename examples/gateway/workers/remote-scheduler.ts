import { AllocatedMemory } from "bun-cuda-memory";
import type { Model } from "../engine/engine.ts";
import { HttpError } from "../http-error.ts";
import type { ComputeRequest, Scheduler } from "../scheduler.ts";
import type { FromWorker, ToWorker } from "./messages.ts";

/** The scheduler of a Worker, which sends requests to the thread that has the engine. */
export class RemoteScheduler implements Scheduler {
  readonly models: ReadonlyMap<string, Model>;
  readonly #post: (message: FromWorker) => void;
  readonly #waiting = new Map<number, PromiseWithResolvers<AllocatedMemory>>();
  #isReady = true;
  #lastId = 0;

  constructor(models: readonly Model[], post: (message: FromWorker) => void) {
    this.models = new Map(models.map((model) => [model.name, model]));
    this.#post = post;
  }

  isReady(): boolean {
    return this.#isReady;
  }

  /** The engine's thread is not told of what is not there yet. */
  expect(): Disposable {
    return { [Symbol.dispose]: () => {} };
  }

  async compute(request: ComputeRequest, memory: AllocatedMemory): Promise<AllocatedMemory> {
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<AllocatedMemory>();
    this.#waiting.set(id, answer);
    this.#post({ kind: "compute", id, request, handle: memory.detach() });
    return await answer.promise;
  }

  /** Takes what the engine's thread has sent. */
  receive(message: Exclude<ToWorker, { kind: "stop" }>): void {
    if (message.kind === "readiness") {
      this.#isReady = message.isReady;
      return;
    }
    const answer = this.#waiting.get(message.id)!;
    this.#waiting.delete(message.id);
    if (message.kind === "computed") answer.resolve(AllocatedMemory.attach(message.handle));
    else {
      const { status, message: text, headers } = message.error;
      answer.reject(new HttpError(status, text, headers));
    }
  }
}
