import { checkComputeCapability } from "../arguments.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { computeCapability, deviceCount, noDeviceReason } from "../native/cuda-device.ts";
import { isCudaLost } from "../native/cuda-error.ts";
import { type Cudart, cudart, noCudartReason } from "../native/cudart.ts";

/** The compute capability that a GPU must have by default, as in Triton. */
export const defaultMinComputeCapability = 6.0;

/**
 * The number of GPUs that CUDA has, supported or not; 0 without a CUDA runtime.
 *
 * @throws {MemoryError} `INTERNAL` where a GPU is there but CUDA fails.
 */
export function gpuCount(): number {
  const runtime = cudart();
  return runtime === null ? 0 : deviceCount(runtime);
}

/** The native library has room for this many GPUs. */
export const gpuCountMax = 128;

/** 8.6 is not exactly 8 + 6 / 10; the tolerance is Triton's. */
const tolerance = 0.01;

/** A GPU's compute capability, or the error with which it could not be asked. */
function capabilityOf(runtime: Cudart, deviceId: number): number | MemoryError {
  try {
    return computeCapability(runtime, deviceId);
  } catch (error) {
    if (error instanceof MemoryError) return error;
    throw error;
  }
}

/** Whether a GPU can have a pool. One that cannot be asked costs no other GPU its pool. */
function isSupported(runtime: Cudart, deviceId: number, minComputeCapability: number): boolean {
  const capability = capabilityOf(runtime, deviceId);
  if (capability instanceof MemoryError) {
    log.error("device", `GPU ${deviceId} is left out: ${capability.message}`);
    return false;
  }
  return capability > minComputeCapability - tolerance;
}

/**
 * The GPUs that can have a memory pool: the CUDA ordinals, ascending, of those whose compute
 * capability is at least `minComputeCapability`. With no GPU, no CUDA runtime, or a driver that is
 * missing or too old there are none, which is not an error (as in Triton's `GetSupportedGPUs`). A
 * GPU that cannot be asked is left out, with an error in the log, and so are those beyond the 128th.
 * Once CUDA has failed for good there are none any more.
 *
 * @throws {MemoryError} `INVALID_ARG` for a capability that is no number, `INTERNAL` where CUDA
 * fails to count the GPUs.
 *
 * @example
 * ```ts
 * const gpus = getSupportedGpus(); // [0, 1]
 * const newGpus = getSupportedGpus(9.0); // [1]
 * ```
 */
export function getSupportedGpus(minComputeCapability = defaultMinComputeCapability): number[] {
  checkComputeCapability("getSupportedGpus", "minComputeCapability", minComputeCapability);
  const runtime = cudart();
  if (runtime === null || isCudaLost()) return [];
  const count = deviceCount(runtime);
  if (count > gpuCountMax) {
    log.error("device", `CUDA has ${count} GPUs; those from GPU ${gpuCountMax} on are left out`);
  }
  return Array.from({ length: Math.min(count, gpuCountMax) }, (_, deviceId) => deviceId).filter(
    (deviceId) => isSupported(runtime, deviceId, minComputeCapability),
  );
}

/**
 * Why there is no GPU at all; `null` where there is one, supported or not.
 *
 * @throws {MemoryError} `INTERNAL` where CUDA fails to count the GPUs.
 */
export function noGpuReason(): string | null {
  const runtime = cudart();
  return runtime === null ? noCudartReason() : noDeviceReason(runtime);
}

/**
 * Why there is no such GPU; `null` where there is one, supported or not.
 *
 * @throws {MemoryError} `INTERNAL` where CUDA fails to count the GPUs.
 */
export function absentReason(deviceId: number): string | null {
  const noGpu = noGpuReason();
  if (noGpu !== null) return noGpu;
  const count = gpuCount();
  if (deviceId < count) return null;
  return `there is no GPU ${deviceId}: CUDA has ${count}, which are numbered from 0`;
}

/**
 * Why a GPU is not among the supported ones.
 *
 * @throws {MemoryError} `INTERNAL` where CUDA fails to count the GPUs.
 */
export function unsupportedReason(deviceId: number, minComputeCapability: number): string {
  const runtime = cudart();
  const absent = absentReason(deviceId);
  if (runtime === null || absent !== null) return absent ?? "there is no CUDA runtime";
  if (deviceId >= gpuCountMax) return `no more than ${gpuCountMax} GPUs can have a pool`;
  const capability = capabilityOf(runtime, deviceId);
  if (capability instanceof MemoryError) return capability.message;
  if (capability > minComputeCapability - tolerance) {
    return "it could not be asked for its compute capability";
  }
  return (
    `its compute capability ${capability.toFixed(1)} is below ${minComputeCapability.toFixed(1)}, which ` +
    "minSupportedComputeCapability (--min-supported-compute-capability) can lower"
  );
}

/**
 * Checks that a GPU is a supported one, and asks no other.
 *
 * @throws {MemoryError} `UNAVAILABLE` where it is absent or not supported, `INTERNAL` where CUDA fails.
 */
export function checkSupported(
  operation: string,
  deviceId: number,
  minComputeCapability: number,
): void {
  const runtime = cudart();
  if (runtime !== null && absentReason(deviceId) === null && deviceId < gpuCountMax) {
    if (computeCapability(runtime, deviceId) > minComputeCapability - tolerance) return;
  }
  const reason = unsupportedReason(deviceId, minComputeCapability);
  throw new MemoryError("UNAVAILABLE", `${operation} of GPU ${deviceId}: ${reason}`);
}
