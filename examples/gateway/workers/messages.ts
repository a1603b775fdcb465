import type { MemoryHandle } from "bun-cuda-memory";
import type { Model } from "../engine/engine.ts";
import type { GatewayOptions } from "../gateway.ts";
import type { ComputeRequest } from "../scheduler.ts";

// What the thread that has the engine and the Workers that have the clients tell each other. Memory
// goes with a message, as a handle, and nobody else has it meanwhile.

/** What a Worker is started with. */
export interface WorkerStart {
  models: readonly Model[];
  options: GatewayOptions;
}

/** How a request ended that a Worker has sent. */
export type ComputeResult =
  | { kind: "computed"; id: number; handle: MemoryHandle }
  | {
      kind: "failed";
      id: number;
      error: { status: number; message: string; headers: Readonly<Record<string, string>> };
    };

export type ToWorker =
  | ComputeResult
  | { kind: "readiness"; isReady: boolean }
  | { kind: "stop"; graceMilliseconds: number };

/** What a Worker tells of its requests. */
export type RequestMessage =
  | { kind: "expect"; id: number; modelName: string }
  | { kind: "expect no more"; id: number }
  | { kind: "compute"; id: number; request: ComputeRequest; handle: MemoryHandle }
  | { kind: "abort"; id: number };

/** How many of the memories that were sent to it a Worker has attached by now. */
export interface Attached {
  attachedCount: number;
}

export type FromWorker = { kind: "listening"; url: string } | (RequestMessage & Attached);
