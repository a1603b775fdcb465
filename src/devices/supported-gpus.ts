import { checkComputeCapability } from "../arguments.ts";
import { computeCapability, deviceCount } from "../native/cuda-device.ts";
import { cudart } from "../native/cudart.ts";

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

/**
 * The GPUs that can have a memory pool: the CUDA ordinals, ascending, of those whose compute
 * capability is at least `minComputeCapability`. With no GPU, no CUDA runtime, or a driver that is
 * missing or too old there are none, which is not an error (as in Triton's `GetSupportedGPUs`).
 *
 * @throws {MemoryError} `INVALID_ARG` for a capability that is no number, `INTERNAL` where a GPU is
 * there but CUDA fails.
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
  if (runtime === null) return [];
  // 8.6 is not exactly 8 + 6 / 10; the tolerance is Triton's.
  const tolerance = 0.01;
  return Array.from({ length: deviceCount(runtime) }, (_, deviceId) => deviceId).filter(
    (deviceId) => computeCapability(runtime, deviceId) > minComputeCapability - tolerance,
  );
}
