// What the check asks of the CUDA runtime of this process. The import of this module opens the
// runtime.

import { dlopen } from "bun:ffi";
import { computeCapability as readComputeCapability } from "../src/native/cuda-device.ts";
import { extraCudartSymbols } from "../src/native/cudart-symbols.ts";
import { cudart, cudartPath as chosenPath } from "../src/native/cudart.ts";
import { simulatorSymbols } from "../src/native/simulator-symbols.ts";
import { realCudartSymbols } from "./cuda-symbols.ts";

function requireRuntime() {
  const runtime = cudart();
  if (runtime === null) throw new Error("there is no CUDA runtime");
  return runtime;
}

/** The package's own functions of the runtime. */
export const runtime = requireRuntime();

/** The file of the runtime that the process has chosen. */
export const cudartPath = chosenPath()!;

const { cudaPeekAtLastError } = extraCudartSymbols;

/** Functions that the package itself does not call. */
const extra = dlopen(cudartPath, { cudaPeekAtLastError }).symbols;

/** @throws {Error} with CUDA's name and text of the error, where there is one. */
export function requireSuccess(error: number, doing: string): void {
  if (error === 0) return;
  const text = `${runtime.cudaGetErrorName(error)} (${error})`;
  throw new Error(`failed to ${doing}: ${text}: ${runtime.cudaGetErrorString(error)}`);
}

/** Whether the runtime is the simulator, whatever its file is called. */
export function isSimulator(): boolean {
  try {
    dlopen(cudartPath, simulatorSymbols).close();
    return true;
  } catch {
    return false;
  }
}

function readInteger(doing: string, get: (value: Int32Array) => number): number {
  const value = new Int32Array(new ArrayBuffer(4));
  requireSuccess(get(value), doing);
  return value[0]!;
}

export const runtimeVersion = () =>
  readInteger("read the runtime's version", (value) => runtime.cudaRuntimeGetVersion(value));

export const driverVersion = () =>
  readInteger("read the driver's version", (value) => runtime.cudaDriverGetVersion(value));

export const deviceCount = () =>
  readInteger("count the GPUs", (value) => runtime.cudaGetDeviceCount(value));

export const currentDevice = () =>
  readInteger("read the current GPU", (value) => runtime.cudaGetDevice(value));

export function makeCurrent(deviceId: number): void {
  requireSuccess(runtime.cudaSetDevice(deviceId), `make GPU ${deviceId} current`);
}

/** The thread's last error, which CUDA keeps. */
export const lastError = () => extra.cudaPeekAtLastError();

/** Returns a GPU's compute capability, such as 8.6, as the package compares it. */
export const computeCapability = (deviceId: number) => readComputeCapability(runtime, deviceId);

export interface MemoryInfo {
  freeByteSize: number;
  totalByteSize: number;
}

/** Reads a GPU's memory. Creates this process's context on the GPU, where there is none. */
export function memoryInfo(deviceId: number): MemoryInfo {
  const current = currentDevice();
  makeCurrent(deviceId);
  const free = new BigUint64Array(new ArrayBuffer(8));
  const total = new BigUint64Array(new ArrayBuffer(8));
  const error = runtime.cudaMemGetInfo(free, total);
  makeCurrent(current);
  requireSuccess(error, `read the memory of GPU ${deviceId}`);
  return { freeByteSize: Number(free[0]), totalByteSize: Number(total[0]) };
}

/** Returns the bus address of a GPU, such as `"0000:00:05.0"`, or `null` on the simulator. */
export function pciBusId(deviceId: number): string | null {
  if (isSimulator()) return null;
  const text = new Uint8Array(new ArrayBuffer(32));
  const real = dlopen(cudartPath, realCudartSymbols);
  requireSuccess(
    real.symbols.cudaDeviceGetPCIBusId(text, text.byteLength, deviceId),
    `read the bus address of GPU ${deviceId}`,
  );
  return new TextDecoder().decode(text.subarray(0, text.indexOf(0)));
}
