import { createMemoryManagers, setLogger } from "bun-cuda-memory";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { startTensorService } from "../../../examples/tensor-service/tensor-service.ts";
import { requests, tell } from "../../../harness/child/messages.ts";

// The process of the service, which tells whoever started it how long its event loop is kept from
// looking at requests. It ends when that process does.

/** How late the event loop was since the process was last asked. */
export interface EventLoopDelay {
  p50Milliseconds: number;
  p99Milliseconds: number;
  maxMilliseconds: number;
}

/** What the process is asked for. */
export type ServiceRequest = "delay";

/** What the process says: first where the service listens, then a delay each time it is asked. */
export type ServiceAnswer =
  { kind: "ready"; url: string } | { kind: "delay"; delay: EventLoopDelay };

const MiB = 1024 ** 2;

/** The pools are too small for the load, so that some tensors land in each kind of memory. */
const memoryOptions = {
  cudaMemoryPoolByteSize: { 0: 32 * MiB },
  pinnedMemoryPoolByteSize: 16 * MiB,
};

// Tensors are meant to fall back here: only errors are worth a line.
setLogger({ info() {}, warn() {}, error: console.error });
createMemoryManagers(memoryOptions);
const service = startTensorService();
const histogram = monitorEventLoopDelay({ resolution: 1 });
histogram.enable();

tell<ServiceAnswer>({ kind: "ready", url: service.url });
for await (const _request of requests<ServiceRequest>()) {
  const delay = {
    p50Milliseconds: histogram.percentile(50) / 1e6,
    p99Milliseconds: histogram.percentile(99) / 1e6,
    maxMilliseconds: histogram.max / 1e6,
  };
  histogram.reset();
  tell<ServiceAnswer>({ kind: "delay", delay });
}
process.exit();
