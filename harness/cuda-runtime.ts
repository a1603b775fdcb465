// Which CUDA runtime a process uses, the simulator or the machine's. A process chooses only once,
// by its environment, before it loads the package.

import { simulatorLibraryPath } from "./paths.ts";
import { ExpectedError } from "./run/errors.ts";

/** The runtime that the user chose, if any. */
export function chosenRuntimePath(): string | undefined {
  return process.env["BUN_CUDA_MEMORY_CUDART"] || undefined;
}

/** Whether this process was told to use the simulator: no GPU is behind it. */
export function isSimulated(): boolean {
  return chosenRuntimePath() === simulatorLibraryPath;
}

/** The environment of a process that uses a runtime. */
export function runtimeEnvironment(cudartPath: string): Record<string, string> {
  return { BUN_CUDA_MEMORY_CUDART: cudartPath };
}

/**
 * The environment of a process that uses the simulator.
 *
 * @param devices The simulated GPUs, as `CUDART_SIM_DEVICES` has them; undefined for those of this
 * process's environment.
 */
export function simulatorEnvironment(devices?: string): Record<string, string> {
  const environment = runtimeEnvironment(simulatorLibraryPath);
  return devices === undefined ? environment : { ...environment, CUDART_SIM_DEVICES: devices };
}

/**
 * Starts this program again in this process's place, on the simulator.
 *
 * @param devices As for {@link simulatorEnvironment}.
 */
export function startAgainOnSimulator(devices?: string): never {
  const env = { ...process.env, ...simulatorEnvironment(devices) } as Record<string, string>;
  const argv = [process.execPath, Bun.main, ...process.argv.slice(2)];
  process.execve?.(process.execPath, argv, env);
  throw new ExpectedError("this Bun cannot start again: it has no process.execve");
}
