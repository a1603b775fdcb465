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
  if (noDeviceErrors.includes(error)) {
    cudart.cudaGetLastError(); // the thread's next user of CUDA must not find the error
    return 0;
  }
  checkCuda(cudart, error, "cudaGetDeviceCount", "count the GPUs");
  return count[0]!;
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
