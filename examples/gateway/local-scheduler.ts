import type { AllocatedMemory } from "bun-cuda-memory";
import { Batcher } from "./batcher.ts";
import type { Engine, Model } from "./engine/engine.ts";
import { tensorsOf } from "./request-memory.ts";
import type { ComputeRequest, Scheduler } from "./scheduler.ts";

/** The scheduler of the thread that has the engine: a batcher for each model. */
export class LocalScheduler implements Scheduler, AsyncDisposable {
  readonly models: ReadonlyMap<string, Model>;
  readonly #engine: Engine;
  readonly #batchers: ReadonlyMap<string, Batcher>;

  /** @param batchByteSize Bytes for the tensors of a batch of each model. */
  constructor(engine: Engine, batchByteSize = 4 * 1024 ** 2) {
    this.#engine = engine;
    this.models = engine.models;
    this.#batchers = new Map(
      [...engine.models].map(([name, model]) => [name, new Batcher(engine, model, batchByteSize)]),
    );
  }

  isReady(): boolean {
    return this.#engine.isReady();
  }

  expect(modelName: string): Disposable {
    return this.#batchers.get(modelName)!.expect();
  }

  async compute(
    { modelName, owner, ...layout }: ComputeRequest,
    memory: AllocatedMemory,
    signal: AbortSignal,
  ): Promise<AllocatedMemory> {
    try {
      const inputs = tensorsOf(memory, layout.inputs);
      const outputs = tensorsOf(memory, layout.outputs);
      await this.#batchers.get(modelName)!.submit({ owner, inputs, outputs, signal });
      return memory;
    } catch (error) {
      memory.free();
      throw error;
    }
  }

  /** Waits for what is being computed. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const batcher of this.#batchers.values()) await batcher[Symbol.asyncDispose]();
  }
}
