/**
 * Control of the CUDA runtime simulator, for tests on machines without a GPU.
 *
 * The simulator is a library with libcudart's functions. This module does not make anything use
 * it; that takes the environment of the process under test:
 *
 * - `BUN_CUDA_MEMORY_CUDART`: the simulator's path, {@link simulatorLibraryPath}, which is
 *   `build/libcudart_sim.so` in this package.
 * - `CUDART_SIM_DEVICES`: the devices in order, each as compute capability and memory in bytes, or
 *   `none`. Without it there is one device, `9.0:17179869184`.
 * - `CUDART_SIM_FAULTS`: calls that fail, each as function, call counted from 1, and error.
 *
 * ```sh
 * export BUN_CUDA_MEMORY_CUDART=$PWD/node_modules/bun-cuda-memory/build/libcudart_sim.so
 * export CUDART_SIM_DEVICES=8.0:1073741824,9.0:85899345920
 * export CUDART_SIM_FAULTS=cudaMalloc:2:cudaErrorMemoryAllocation
 * bun test
 * ```
 *
 * The simulator reads its variables with `getenv` at the first call, so they must be there when the
 * process starts: assigning to `process.env` is too late.
 *
 * @module
 */

import type { cudartSymbols } from "./native/cudart-symbols.ts";
import * as library from "./native/simulator-library.ts";
import type { extraCudartSymbols } from "./native/simulator-symbols.ts";

export { simulatorLibraryPath } from "./native/simulator-library.ts";
export type { LiveMemory } from "./native/simulator-library.ts";

type CudartTable = typeof cudartSymbols & typeof extraCudartSymbols;

/** A function of the CUDA runtime whose calls the simulator counts and can make fail. */
export type SimulatedFunction = {
  [Name in keyof CudartTable]: CudartTable[Name]["returns"] extends "i32" ? Name : never;
}[keyof CudartTable];

/** One call that is to fail. */
export interface CallFailure {
  /** The function, such as `"cudaMalloc"`. */
  readonly function: SimulatedFunction;
  /** Which call of it, by any thread, counted from now: 1, the default, is the next one. */
  readonly nth?: number;
  /** The error that the call returns: a number, such as 2, or a name of CUDA's. */
  readonly error: number | `cudaError${string}`;
}

/**
 * The simulator of this process. There is one for all threads and Workers, and it is the one that
 * the package's memory managers use if they load {@link simulatorLibraryPath}.
 *
 * Each method loads the library if that has not happened yet, and throws an `Error` if it cannot be
 * loaded or if what the environment says of the simulator is malformed.
 *
 * @example
 * ```ts
 * import { CudartSimulator } from "bun-cuda-memory/simulator";
 *
 * CudartSimulator.failCall({ function: "cudaMalloc", error: "cudaErrorMemoryAllocation" });
 * runTheCodeThatAllocates();
 * expect(CudartSimulator.liveDeviceMemory(0)).toEqual({ blockCount: 0, byteSize: 0 });
 * ```
 */
export const CudartSimulator = {
  /**
   * Makes one call fail. It has no effect but its error, which also becomes the last error of the
   * thread that makes it. A second failure of the same call replaces the first.
   *
   * @example
   * ```ts
   * // The second cudaMalloc from now fails with error 2.
   * CudartSimulator.failCall({ function: "cudaMalloc", nth: 2, error: 2 });
   * ```
   * @throws {TypeError} An argument is of the wrong type.
   * @throws {RangeError} The simulator does not have the function or the error, the error is 0, or
   *   `nth` is not an integer from 1 to `Number.MAX_SAFE_INTEGER`. Nothing has changed then.
   */
  failCall({ function: functionName, nth = 1, error }: CallFailure): void {
    requireFunction(functionName);
    requireInteger("nth", nth, 1, Number.MAX_SAFE_INTEGER);
    const number = requireError(error);
    if (!library.failCall(functionName, nth, number)) {
      throw new RangeError(`the simulator has no error ${number}`);
    }
  },

  /** Forgets all failures that have not happened yet, those of the environment included. */
  clearFaults(): void {
    library.clearFaults();
  },

  /**
   * Number of calls of a function since the process started, by all threads, failed ones included.
   *
   * @throws {TypeError} The argument is not a string.
   * @throws {RangeError} The simulator does not have the function.
   */
  callCount(functionName: SimulatedFunction): number {
    return requireFunction(functionName);
  },

  /**
   * What is allocated and not freed on a device.
   *
   * @param deviceId The device's ordinal, from 0.
   * @throws {TypeError} The argument is not a number.
   * @throws {RangeError} There is no such device.
   */
  liveDeviceMemory(deviceId: number): library.LiveMemory {
    requireInteger("deviceId", deviceId, 0, maxInt32);
    const memory = library.liveDeviceMemory(deviceId);
    if (memory === undefined) {
      throw new RangeError(`the simulator has no device ${deviceId}`);
    }
    return memory;
  },

  /** What is allocated and not freed of pinned host memory. */
  liveHostMemory(): library.LiveMemory {
    return library.liveHostMemory();
  },
} as const;

const maxInt32 = 2 ** 31 - 1;

/** Checks a function's name, and gives how often it was called. */
function requireFunction(functionName: unknown): number {
  if (typeof functionName !== "string") {
    throw new TypeError(`the function's name must be a string, not ${typeof functionName}`);
  }
  const count = library.callCount(functionName);
  if (count === undefined) {
    throw new RangeError(`the simulator has no function ${functionName} whose calls can fail`);
  }
  return count;
}

function requireInteger(name: string, value: unknown, min: number, max: number): void {
  if (typeof value !== "number") {
    throw new TypeError(`${name} must be a number, not ${typeof value}`);
  }
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`${name} must be an integer from ${min} to ${max}, not ${value}`);
  }
}

/** Checks an error that is to be injected, and gives its number. */
function requireError(error: unknown): number {
  if (typeof error !== "string") {
    requireInteger("error", error, 1, maxInt32);
    return error as number;
  }
  const number = library.errorNumber(error);
  if (number === undefined || number === 0) {
    throw new RangeError(`the simulator has no error ${error}`);
  }
  return number;
}
