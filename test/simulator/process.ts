import { join } from "node:path";
import type { CudartSimulator } from "../../src/simulator.ts";
import { type Exit, resultOf, spawnBody } from "../support/process.ts";
import type { Cuda } from "./cudart.ts";

/** The simulated machine of a process: its environment variables. */
export interface Machine {
  readonly devices?: string;
  readonly faults?: string;
  readonly nsPerByte?: string;
  readonly operationNs?: string;
}

/** A machine with two devices. */
export const twoDevices = "8.0:1073741824,9.0:1073741824";

interface Exports {
  cuda: Cuda;
  CudartSimulator: typeof CudartSimulator;
}

/** Runs in another process, so it sees nothing but its parameters. */
type Body<Result> = (exports: Exports) => Result | Promise<Result>;

/** Runs the body in a process of its own with that machine. */
export function spawnOn(
  { devices, faults, nsPerByte, operationNs }: Machine,
  body: Body<unknown>,
): Exit {
  return spawnBody(join(import.meta.dir, "cudart.ts"), body, {
    CUDART_SIM_DEVICES: devices,
    CUDART_SIM_FAULTS: faults,
    CUDART_SIM_NS_PER_BYTE: nsPerByte,
    CUDART_SIM_OPERATION_NS: operationNs,
  });
}

/**
 * Runs the body in a process of its own with that machine, and gives what it returns. The tests
 * compare the times that a body measures with wide margins, because they are taken on machines that
 * do other things meanwhile.
 */
export function runOn<Result>(machine: Machine, body: Body<Result>): Result {
  return resultOf(spawnOn(machine, body));
}
