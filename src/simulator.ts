/**
 * Control of the CUDA runtime simulator, for tests on machines without a GPU.
 *
 * The simulator is a library with libcudart's functions. This module does not make anything use it;
 * that takes the environment of the process under test:
 *
 * - `BUN_CUDA_MEMORY_CUDART`: the simulator's path, {@link simulatorLibraryPath}.
 * - `CUDART_SIM_DEVICES`: the devices in order, each as compute capability and memory in bytes, or
 *   `none`. Without it there is one device, `9.0:17179869184`.
 * - `CUDART_SIM_FAULTS`: calls that fail, each as function, call counted from 1, and error. In
 *   place of a function, `operation` is what {@link CudartSimulator.failOperation} makes fail.
 * - `CUDART_SIM_NS_PER_BYTE` and `CUDART_SIM_OPERATION_NS`: how long copies and memsets take, as
 *   {@link CudartSimulator.setDelay} has it, each a decimal number. Without them, no time.
 *
 * ```sh
 * export BUN_CUDA_MEMORY_CUDART=$(bun -p 'require("bun-cuda-memory/simulator").simulatorLibraryPath')
 * export CUDART_SIM_DEVICES=8.0:1073741824,9.0:85899345920
 * export CUDART_SIM_FAULTS=cudaMalloc:2:cudaErrorMemoryAllocation
 * bun test
 * ```
 *
 * Work is asynchronous as on a GPU: each stream is a queue, and a thread of its own performs what
 * is in it, in order and later than the call. Give the operations a delay, and a copy that nobody
 * waited for, or a block that is used again too early, corrupts data in a test as it would on a
 * GPU. `simulator/cudart_sim.h` in this package says which calls return before their work is done.
 *
 * - `CUDA_VISIBLE_DEVICES`: obeyed as CUDA does. Device 1, say, has the UUID
 *   `GPU-51000001-0000-4000-8000-000000000001`.
 *
 * The simulator reads its variables at the first call, from Bun's `.env` files too. What
 * `process.env` is assigned later is an error, where the package or this module notices it.
 *
 * @module
 */

import type { cudartSymbols, extraCudartSymbols } from "./native/cudart-symbols.ts";
import * as library from "./native/simulator-library.ts";
import { delayNsMax } from "./native/simulator-symbols.ts";

export { simulatorLibraryPath } from "./native/simulator-library.ts";
export type { Delay, LiveHandles, LiveMemory } from "./native/simulator-library.ts";

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
  readonly nth?: number | undefined;
  /** The error that the call returns: a number, such as 2, or a name of CUDA's. */
  readonly error: number | `cudaError${string}`;
}

/** One operation of a stream that is to fail when it runs. */
export interface OperationFailure {
  /**
   * Which copy or memset that a function whose name ends in `Async` puts on a stream, by any
   * thread, counted from now: 1, the default, is the next one. Those of no bytes do not count.
   */
  readonly nth?: number | undefined;
  /** The error: a number, such as 999, or a name of CUDA's. */
  readonly error: number | `cudaError${string}`;
}

/**
 * The simulator of this process. There is one for all threads and Workers: the one that the package's
 * memory managers use, or will use because `BUN_CUDA_MEMORY_CUDART` names it; where they have none
 * yet, that of {@link simulatorLibraryPath}.
 *
 * Each method loads the library if that has not happened yet, and throws an `Error` if it cannot be
 * loaded, if what the environment says of the simulator is malformed or was said too late, and if the
 * process uses another CUDA runtime, on which the method would have no effect. Another copy of the
 * simulator is none: then it is that copy which the methods control.
 *
 * @example
 * ```ts
 * CudartSimulator.failCall({ function: "cudaMalloc", error: "cudaErrorMemoryAllocation" });
 * createMemoryManagers(); // logs an error and goes on without a pool on GPU 0
 * console.log(CudartSimulator.liveDeviceMemory(0)); // { blockCount: 0, byteSize: 0 }
 * ```
 */
export const CudartSimulator = {
  /**
   * Makes one call fail. It has no effect but its error, which also becomes the last error of the
   * thread that makes it; and an error after which CUDA asks for a new process, such as 700, ends
   * all work of the process, as in {@link CudartSimulator.failOperation}. A second failure of the
   * same call replaces the first.
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

  /**
   * Makes one asynchronous copy or memset fail late: when it runs, after the call that queued it
   * has returned. It moves no bytes.
   *
   * An error after which CUDA asks for a new process, such as `cudaErrorIllegalAddress` or
   * `cudaErrorLaunchFailure`, ends all work of the process, on every device: every later call that
   * needs a context returns it. Any other is returned once, by the next call that finds the operation
   * done: one that waits for its stream, its device or an event recorded after it, or that asks
   * whether they are done.
   *
   * @example
   * ```ts
   * CudartSimulator.failOperation({ error: "cudaErrorUnknown" });
   * // cudaMemcpyAsync returns 0, and the next cudaStreamSynchronize of its stream 999.
   * ```
   * @throws {TypeError} An argument is of the wrong type.
   * @throws {RangeError} The simulator does not have the error, the error is 0, or `nth` is not an
   *   integer from 1 to `Number.MAX_SAFE_INTEGER`. Nothing has changed then.
   */
  failOperation({ nth = 1, error }: OperationFailure): void {
    requireInteger("nth", nth, 1, Number.MAX_SAFE_INTEGER);
    const number = requireError(error);
    if (!library.failOperation(nth, number)) {
      throw new RangeError(`the simulator has no error ${number}`);
    }
  },

  /**
   * Forgets all failures that have not happened yet, those of the environment included, and all
   * errors of operations that no call has returned yet.
   *
   * With CUDA nothing heals a process whose work a sticky error has ended. Here this does, so that
   * tests can share a process: what was allocated and created is still there, and what was queued
   * meanwhile has had no effect. What the package itself has learned of the error it keeps.
   */
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
    requireInteger("deviceId", deviceId, 0, int32Max);
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

  /**
   * Whether a device has a CUDA context. It has none until something needs it, such as memory, a
   * stream or `cudaSetDevice`; on a real GPU a context takes hundreds of MiB.
   *
   * @example
   * ```ts
   * CudaMemoryManager.create({ memoryPoolByteSize: { 1: 2 ** 20 } });
   * console.log(CudartSimulator.hasContext(0), CudartSimulator.hasContext(1)); // false true
   * ```
   * @throws {TypeError} The device is not a number.
   * @throws {RangeError} There is no such device.
   */
  hasContext(deviceId: number): boolean {
    requireInteger("deviceId", deviceId, 0, int32Max);
    const has = library.hasContext(deviceId);
    if (has === undefined) throw new RangeError(`the simulator has no device ${deviceId}`);
    return has;
  },

  /** How many streams and events were created and not destroyed. */
  liveHandles(): library.LiveHandles {
    return library.liveHandles();
  },

  /**
   * Sets how long a copy or memset takes, beyond what moving the bytes takes. It holds for those
   * that are queued from now on, on all devices; what is not given is 0. The operations of one
   * stream take their times one after the other, those of several streams at the same time.
   *
   * @example
   * ```ts
   * // 20 GB/s, and 5 microseconds for each operation.
   * CudartSimulator.setDelay({ nsPerByte: 0.05, operationNs: 5000 });
   * ```
   * @throws {TypeError} An argument is of the wrong type.
   * @throws {RangeError} An argument is not from 0 to 1e9. Nothing has changed then.
   */
  setDelay({
    nsPerByte = 0,
    operationNs = 0,
  }: { readonly [Key in keyof library.Delay]?: library.Delay[Key] | undefined }): void {
    requireDelay("nsPerByte", nsPerByte);
    requireDelay("operationNs", operationNs);
    library.setDelay({ nsPerByte, operationNs });
  },

  /** What {@link CudartSimulator.setDelay} or the environment has set. */
  delay(): library.Delay {
    return library.delay();
  },
} as const;

const int32Max = 2 ** 31 - 1;

/** Checks a function's name. Returns how often the function was called. */
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

function requireDelay(name: string, value: unknown): void {
  if (typeof value !== "number") {
    throw new TypeError(`${name} must be a number, not ${typeof value}`);
  }
  if (!(value >= 0 && value <= delayNsMax)) {
    throw new RangeError(`${name} must be a number from 0 to ${delayNsMax}, not ${value}`);
  }
}

/** Checks an error that is to be injected. Returns its number. */
function requireError(error: unknown): number {
  if (typeof error !== "string") {
    requireInteger("error", error, 1, int32Max);
    return error as number;
  }
  const number = library.errorNumber(error);
  if (number === undefined || number === 0) {
    throw new RangeError(`the simulator has no error ${error}`);
  }
  return number;
}
