import {
  AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  MemoryAccount,
  PinnedMemoryManager,
  setLogger,
} from "bun-cuda-memory";
import { readFileSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { chooseEngine } from "../../../examples/gateway/engine/choose-engine.ts";
import { Gateway } from "../../../examples/gateway/gateway.ts";
import { LocalScheduler } from "../../../examples/gateway/local-scheduler.ts";
import { requests, tell } from "../../../harness/child/messages.ts";
import { tenants } from "./tenants.ts";

// The process of the gateway, which tells whoever started it how long its event loop is kept from
// looking at requests, and who has memory. It ends when that process does.

/** How late the event loop was since the process was last asked. */
export interface EventLoopDelay {
  p50Milliseconds: number;
  p99Milliseconds: number;
  maxMilliseconds: number;
}

/** Memory of a tenant. */
export interface AccountState {
  name: string;
  usedByteSize: number;
  allocationCount: number;
}

export interface GatewayState {
  delay: EventLoopDelay;
  accounts: AccountState[];
  /** The most memory that the process had at once since its pools were touched, if they were. */
  peakResidentByteSize: number;
}

/** What the process is asked for. */
export type GatewayRequest = "state" | "touch pools";

/** What the process says: first where the gateway listens, then its state each time it is asked. */
export type GatewayAnswer =
  | { kind: "ready"; url: string; computesWith: string }
  | { kind: "state"; state: GatewayState }
  /** All pages of the pools are there; how much memory the process has, idle. */
  | { kind: "touched"; resident: number };

const MiB = 1024 ** 2;

/** The pool is too small for all that the greedy tenant sends. */
const poolByteSize = Number(process.env["GATEWAY_POOL_BYTE_SIZE"] ?? 128 * MiB);

setLogger({ info() {}, warn() {}, error: console.error });
createMemoryManagers({
  cudaMemoryPoolByteSize: { 0: poolByteSize },
  pinnedMemoryPoolByteSize: 64 * MiB,
});
const engine = chooseEngine();
const gateway = new Gateway(new LocalScheduler(engine), {
  tenants: Object.values(tenants),
  // The greedy tenant's requests are to wait, and not to be refused.
  waitMilliseconds: 60_000,
  waitingCountMax: 10_000,
});
const histogram = monitorEventLoopDelay({ resolution: 1 });
histogram.enable();

function accountState(name: string): AccountState {
  const { usedByteSize, allocationCount } = MemoryAccount.of(name).stats();
  return { name, usedByteSize, allocationCount };
}

/** A line of what the kernel says of the process's memory, in bytes. */
function kernelByteSize(name: "VmRSS" | "VmHWM"): number {
  const status = readFileSync("/proc/self/status", "latin1");
  return 1024 * Number(new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(status)![1]);
}

/** Has all pages of the pools, so that using them takes no more memory, and forgets the peak so far. */
function touchPools(): number {
  const places = [
    { memoryType: "GPU", byteSize: CudaMemoryManager.stats(0).largestFreeByteSize },
    { memoryType: "CPU_PINNED", byteSize: PinnedMemoryManager.stats().largestFreeByteSize },
  ] as const;
  for (const { memoryType, byteSize } of places) {
    using memory = new AllocatedMemory(byteSize, memoryType, 0, { fallback: "none" });
    memory.fill(1);
  }
  Bun.gc(true);
  writeFileSync("/proc/self/clear_refs", "5");
  return kernelByteSize("VmRSS");
}

tell<GatewayAnswer>({ kind: "ready", url: gateway.url, computesWith: engine.description });
for await (const request of requests<GatewayRequest>()) {
  if (request === "touch pools") {
    tell<GatewayAnswer>({ kind: "touched", resident: touchPools() });
    continue;
  }
  const delay = {
    p50Milliseconds: histogram.percentile(50) / 1e6,
    p99Milliseconds: histogram.percentile(99) / 1e6,
    maxMilliseconds: histogram.max / 1e6,
  };
  histogram.reset();
  const accounts = Object.keys(tenants).map(accountState);
  tell<GatewayAnswer>({
    kind: "state",
    state: { delay, accounts, peakResidentByteSize: kernelByteSize("VmHWM") },
  });
}
process.exit();
