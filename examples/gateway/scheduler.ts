import type { AllocatedMemory } from "bun-cuda-memory";
import type { Model } from "./engine/engine.ts";
import type { Layout } from "./request-memory.ts";

/** One request for an engine, in values that another thread can have. */
export interface ComputeRequest extends Layout {
  modelName: string;
  /** Whose it is: the owners take turns. */
  owner: string;
}

/** What brings requests to an engine, which may be another thread's. */
export interface Scheduler {
  readonly models: ReadonlyMap<string, Model>;
  /** Whether its engine can compute now. */
  isReady(): boolean;
  /** Says that a request is coming, until the disposable that is returned is disposed of. */
  expect(modelName: string): Disposable;
  /**
   * Computes the outputs of a request. It takes the memory over, and returns the same memory, though
   * perhaps not the same object; or it frees it.
   *
   * @param signal One that is aborted before its turn need not be computed.
   * @throws the signal's reason, or what the engine fails with.
   */
  compute(
    request: ComputeRequest,
    memory: AllocatedMemory,
    signal: AbortSignal,
  ): Promise<AllocatedMemory>;
}
