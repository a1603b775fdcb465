import { dlopen } from "bun:ffi";
import { resolve } from "node:path";
import { excerpt } from "../describe.ts";
import { cString } from "./c-string.ts";
import { overrideVariable } from "./cudart-open.ts";
import { processVariable } from "./environment.ts";
import { findLibrary } from "./library-search.ts";
import { memoryLibrary } from "./memory-library.ts";
import { handOverVariables } from "./simulator-environment.ts";
import { simulatorSymbols } from "./simulator-symbols.ts";

/** The package's own files, by literal URLs, which tools that trace a program's files follow. */
const prebuilt = {
  "linux-x64": new URL("../../prebuilt/linux-x64/libcudart_sim.so", import.meta.url),
  "linux-arm64": new URL("../../prebuilt/linux-arm64/libcudart_sim.so", import.meta.url),
};

/** The files that a bundler took along, by literal paths as in memory-library.ts. */
function bundled(): URL[] {
  const urls: URL[] = [];
  const add = (path: string) => void urls.push(new URL(path, import.meta.url));
  try {
    add(require("../../build/libcudart_sim.so"));
  } catch {}
  try {
    if (process.arch === "x64") add(require("../../prebuilt/linux-x64/libcudart_sim.so"));
  } catch {}
  try {
    if (process.arch === "arm64") add(require("../../prebuilt/linux-arm64/libcudart_sim.so"));
  } catch {}
  return urls;
}

/**
 * Absolute path of the simulator's library. Importing it does not load the simulator: that takes
 * `BUN_CUDA_MEMORY_CUDART`, or a call of {@link CudartSimulator}.
 *
 * @throws {MemoryError} `UNAVAILABLE`, from the import, where there is no such library.
 *
 * @example
 * ```ts
 * // A server in a process of its own, on simulated GPUs.
 * Bun.spawn(["bun", "server.ts"], {
 *   env: { ...process.env, BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath },
 * });
 * ```
 */
export const simulatorLibraryPath: string = findLibrary({
  fileName: "libcudart_sim.so",
  sourceFolder: "simulator",
  prebuilt,
  bundled,
});

type SimulatorFunctions = ReturnType<typeof dlopen<typeof simulatorSymbols>>["symbols"];

/** The simulator that this thread has opened, and its path. */
let opened: { readonly path: string; readonly functions: SimulatorFunctions } | undefined;

/**
 * The functions of the simulator that this process uses. It is loaded at the first call, and never
 * unloaded, because its state is the process's.
 *
 * @throws {Error} Where the process uses another CUDA runtime, or the simulator cannot be loaded.
 */
function simulatorFunctions(): SimulatorFunctions {
  const path = runtimePath();
  if (opened?.path !== path) opened = { path, functions: openSimulator(path) };
  return opened.functions;
}

/** The path of the CUDA runtime of this process; where it has none yet, of the one that it will have. */
function runtimePath(): string {
  const claimed = memoryLibrary.cudart_claim(null);
  if (claimed === null) {
    const named = processVariable(overrideVariable);
    return named ? resolve(named) : simulatorLibraryPath;
  }
  if (String(claimed) === "") {
    throw new Error(
      "CudartSimulator would have no effect: this process has no CUDA runtime. " + advice,
    );
  }
  return String(claimed);
}

const advice = `Set ${overrideVariable} to ${simulatorLibraryPath} where the process is started`;

function openSimulator(path: string): SimulatorFunctions {
  let functions: SimulatorFunctions;
  try {
    functions = dlopen(path, simulatorSymbols).symbols;
  } catch (cause) {
    throw new Error(
      path === simulatorLibraryPath
        ? `cannot load the CUDA runtime simulator from ${path}`
        : "CudartSimulator would have no effect: the CUDA runtime of this process, " +
            `${excerpt(path, 1000)}, is not the simulator of this version. ${advice}`,
      { cause },
    );
  }
  const late = handOverVariables(path);
  if (late !== null) throw new Error(late);
  return functions;
}

const success = 0;
const initializationError = 3;

/**
 * Whether the simulator did what was asked. Otherwise it refused the arguments, and did nothing.
 *
 * @throws {Error} Where what the environment says of the simulator is malformed.
 */
function accepted(result: number): boolean {
  if (result === initializationError) {
    throw new Error(
      "the CUDA runtime simulator does not start: one of its CUDART_SIM_ variables is malformed, " +
        "see stderr",
    );
  }
  return result === success;
}

export function failCall(functionName: string, nth: number, error: number): boolean {
  return accepted(simulatorFunctions().cudartSimFailCall(cString(functionName), nth, error));
}

export function failOperation(nth: number, error: number): boolean {
  return accepted(simulatorFunctions().cudartSimFailOperation(nth, error));
}

export function clearFaults(): void {
  accepted(simulatorFunctions().cudartSimClearFaults());
}

/** How often a function was called; `undefined` where the simulator has no such function. */
export function callCount(functionName: string): number | undefined {
  const count = new BigUint64Array(new ArrayBuffer(8));
  const result = simulatorFunctions().cudartSimGetCallCount(cString(functionName), count);
  return accepted(result) ? Number(count[0]) : undefined;
}

/** The number of an error; `undefined` where the simulator has no such error. */
export function errorNumber(name: string): number | undefined {
  const number = new Int32Array(new ArrayBuffer(4));
  const result = simulatorFunctions().cudartSimGetErrorNumber(cString(name), number);
  return accepted(result) ? number[0] : undefined;
}

/** What is allocated of one kind of simulated memory. */
export interface LiveMemory {
  /** Number of allocations that are not freed. */
  readonly blockCount: number;
  /** Sum of their sizes in bytes, as they were asked for. */
  readonly byteSize: number;
}

/** What is allocated on a device; `undefined` where there is no such device. */
export function liveDeviceMemory(deviceId: number): LiveMemory | undefined {
  const blockCount = new BigUint64Array(new ArrayBuffer(8));
  const byteSize = new BigUint64Array(new ArrayBuffer(8));
  const result = simulatorFunctions().cudartSimGetLiveDeviceMemory(deviceId, blockCount, byteSize);
  if (!accepted(result)) {
    return undefined;
  }
  return { blockCount: Number(blockCount[0]), byteSize: Number(byteSize[0]) };
}

export function liveHostMemory(): LiveMemory {
  const blockCount = new BigUint64Array(new ArrayBuffer(8));
  const byteSize = new BigUint64Array(new ArrayBuffer(8));
  accepted(simulatorFunctions().cudartSimGetLiveHostMemory(blockCount, byteSize));
  return { blockCount: Number(blockCount[0]), byteSize: Number(byteSize[0]) };
}

/** Whether a device has a context; `undefined` where there is no such device. */
export function hasContext(deviceId: number): boolean | undefined {
  const has = new Int32Array(new ArrayBuffer(4));
  return accepted(simulatorFunctions().cudartSimHasContext(deviceId, has))
    ? has[0] === 1
    : undefined;
}

/** How many objects exist that CUDA has handles for. */
export interface LiveHandles {
  /** Number of streams that were created and not destroyed. */
  readonly streamCount: number;
  /** Number of events that were created and not destroyed. */
  readonly eventCount: number;
}

export function liveHandles(): LiveHandles {
  const streams = new BigUint64Array(new ArrayBuffer(8));
  const events = new BigUint64Array(new ArrayBuffer(8));
  accepted(simulatorFunctions().cudartSimGetLiveHandles(streams, events));
  return { streamCount: Number(streams[0]), eventCount: Number(events[0]) };
}

/** How long a copy or memset takes, beyond the time of moving the bytes. */
export interface Delay {
  /** Nanoseconds for each byte. For example, 0.05 is 20 GB/s. */
  readonly nsPerByte: number;
  /** Nanoseconds for each operation, whatever its size. */
  readonly operationNs: number;
}

export function setDelay({ nsPerByte, operationNs }: Delay): boolean {
  return accepted(simulatorFunctions().cudartSimSetDelay(nsPerByte, operationNs));
}

export function delay(): Delay {
  const nsPerByte = new Float64Array(new ArrayBuffer(8));
  const operationNs = new Float64Array(new ArrayBuffer(8));
  accepted(simulatorFunctions().cudartSimGetDelay(nsPerByte, operationNs));
  return { nsPerByte: Number(nsPerByte[0]), operationNs: Number(operationNs[0]) };
}
