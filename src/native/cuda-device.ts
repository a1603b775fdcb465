import { checkCuda, checkNotLost } from "./cuda-error.ts";
import type { Cudart } from "./cudart.ts";
import { cudaDeviceAttr, cudaError } from "./cudart-symbols.ts";

/**
 * Errors that say no more than that this machine has no GPU that could be used: none is there, or
 * its driver is missing (a build container has a stub in its place) or too old.
 */
const noDeviceErrors: readonly number[] = [
  cudaError.cudaErrorNoDevice,
  cudaError.cudaErrorInsufficientDriver,
  cudaError.cudaErrorStubLibrary,
];

/** A version of CUDA as people write it: 12.4 for 12040. */
function versionText(getVersion: (version: Int32Array) => number): string {
  const version = new Int32Array(1);
  if (getVersion(version) !== cudaError.cudaSuccess || version[0] === 0) return "none";
  return `CUDA ${Math.floor(version[0]! / 1000)}.${Math.floor((version[0]! % 1000) / 10)}`;
}

const causes: Readonly<Record<number, string>> = {
  [cudaError.cudaErrorNoDevice]: "CUDA finds no GPU that it may use",
  [cudaError.cudaErrorInsufficientDriver]:
    "the CUDA driver is missing, or too old for the CUDA runtime",
  [cudaError.cudaErrorStubLibrary]:
    "the CUDA driver is a stub, such as containers are built with, and not the real one",
};

/** Why CUDA can use no device, with what a user needs to know to mend it. */
function describeNoDevice(cudart: Cudart, error: number): string {
  const result =
    error === cudaError.cudaSuccess
      ? "counted 0"
      : `returned ${cudart.cudaGetErrorName(error)} (${error}): ${cudart.cudaGetErrorString(error)}`;
  return (
    `${causes[error] ?? "CUDA has no GPU"} (the driver's version: ` +
    `${versionText(cudart.cudaDriverGetVersion)}, the runtime's: ` +
    `${versionText(cudart.cudaRuntimeGetVersion)}; cudaGetDeviceCount ${result})`
  );
}

/** Why there was no device when this thread first found none. */
let firstNoDevice: string | null = null;

/**
 * The number of devices; 0 where CUDA can use none.
 *
 * @throws {MemoryError} `INTERNAL` where CUDA fails otherwise; `DEVICE_LOST` where it has failed for
 * good.
 */
export function deviceCount(cudart: Cudart): number {
  checkNotLost("count the GPUs");
  const count = new Int32Array(1);
  const error = cudart.cudaGetDeviceCount(count);
  if (!noDeviceErrors.includes(error)) {
    checkCuda(cudart, error, "cudaGetDeviceCount", "count the GPUs");
    if (count[0]! > 0) return count[0]!;
  }
  firstNoDevice ??= describeNoDevice(cudart, error);
  cudart.cudaGetLastError(); // the thread's next user of CUDA must not find the error
  return 0;
}

/**
 * Why CUDA can use no device; `null` where it can.
 *
 * @throws {MemoryError} as {@link deviceCount} does.
 */
export function noDeviceReason(cudart: Cudart): string | null {
  return deviceCount(cudart) === 0 ? firstNoDevice : null;
}

function attribute(cudart: Cudart, name: keyof typeof cudaDeviceAttr, deviceId: number): number {
  checkNotLost(`read ${name} of GPU ${deviceId}`);
  const value = new Int32Array(1);
  const error = cudart.cudaDeviceGetAttribute(value, cudaDeviceAttr[name], deviceId);
  checkCuda(cudart, error, "cudaDeviceGetAttribute", `read ${name} of GPU ${deviceId}`);
  return value[0]!;
}

/**
 * A device's compute capability, such as 8.6.
 *
 * @throws {MemoryError} `INTERNAL` where CUDA fails.
 */
export function computeCapability(cudart: Cudart, deviceId: number): number {
  const major = attribute(cudart, "cudaDevAttrComputeCapabilityMajor", deviceId);
  const minor = attribute(cudart, "cudaDevAttrComputeCapabilityMinor", deviceId);
  return major + minor / 10;
}
