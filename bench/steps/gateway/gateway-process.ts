import { createMemoryManagers, MemoryAccount, setLogger } from "bun-cuda-memory";
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
}

/** What the process is asked for. */
export type GatewayRequest = "state";

/** What the process says: first where the gateway listens, then its state each time it is asked. */
export type GatewayAnswer =
  { kind: "ready"; url: string; computesWith: string } | { kind: "state"; state: GatewayState };

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

tell<GatewayAnswer>({ kind: "ready", url: gateway.url, computesWith: engine.description });
for await (const _request of requests<GatewayRequest>()) {
  const delay = {
    p50Milliseconds: histogram.percentile(50) / 1e6,
    p99Milliseconds: histogram.percentile(99) / 1e6,
    maxMilliseconds: histogram.max / 1e6,
  };
  histogram.reset();
  const accounts = Object.keys(tenants).map(accountState);
  tell<GatewayAnswer>({ kind: "state", state: { delay, accounts } });
}
process.exit();
