import { parseArgs } from "node:util";
import type { GatewayOptions } from "./gateway.ts";
import { readTenants } from "./tenants.ts";

/** The gateway's own options of a command line; what the package understands is not looked at. */
export interface ProgramOptions extends GatewayOptions {
  /** How long a gateway that is told to end waits for its requests. */
  graceMilliseconds: number;
  /** Threads that have clients; 0 for the one that computes too. */
  workerCount: number;
}

function wholeNumber(option: string, text: string, max: number): number {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (value <= max) return value;
  throw new Error(`--${option}: expected 0 to ${max}, got "${text}"`);
}

/** @throws {Error} that names the option. */
export async function parseProgramOptions(argv: string[]): Promise<ProgramOptions> {
  const { values } = parseArgs({
    args: argv,
    options: {
      tenants: { type: "string" },
      port: { type: "string", default: "8000" },
      hostname: { type: "string", default: "127.0.0.1" },
      workers: { type: "string", default: "0" },
      "grace-seconds": { type: "string", default: "30" },
      "queue-milliseconds": { type: "string", default: "1000" },
      // The package's, which it checks itself.
      "cuda-memory-pool-byte-size": { type: "string", multiple: true },
      "pinned-memory-pool-byte-size": { type: "string", multiple: true },
      "min-supported-compute-capability": { type: "string", multiple: true },
      "enable-peer-access": { type: "string", multiple: true },
      "memory-required": { type: "boolean" },
    },
  });
  const path = values.tenants;
  if (path === undefined) throw new Error("--tenants: a JSON file of tenants is needed");
  const tenants = await readTenants(path).catch((error: Error) => {
    throw new Error(`--tenants ${path}: ${error.message}`);
  });
  return {
    tenants,
    port: wholeNumber("port", values.port, 65535),
    hostname: values.hostname,
    workerCount: wholeNumber("workers", values.workers, 64),
    graceMilliseconds: wholeNumber("grace-seconds", values["grace-seconds"], 3600) * 1000,
    waitMilliseconds: wholeNumber("queue-milliseconds", values["queue-milliseconds"], 3_600_000),
  };
}
