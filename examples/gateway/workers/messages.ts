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

export type ToWorker =
  | { kind: "computed"; id: number; handle: MemoryHandle }
  | {
      kind: "failed";
      id: number;
      error: { status: number; message: string; headers: Readonly<Record<string, string>> };
    }
  | { kind: "readiness"; isReady: boolean }
  | { kind: "stop"; graceMilliseconds: number };

export type FromWorker =
  | { kind: "listening"; url: string }
  | { kind: "compute"; id: number; request: ComputeRequest; handle: MemoryHandle }
  | { kind: "stopped" };
