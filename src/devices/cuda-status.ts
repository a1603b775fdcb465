import { deviceCount } from "../native/cuda-device.ts";
import { isCudaLost } from "../native/cuda-error.ts";
import { cudart } from "../native/cudart.ts";

/**
 * What CUDA is in this process.
 *
 * - `"absent"`: there is no CUDA runtime, no GPU, or a driver that is missing or too old.
 * - `"ready"`: there is a GPU, and CUDA has not failed for good.
 * - `"lost"`: CUDA has failed for good, and is not called any more. Only another process has it again.
 */
export type CudaStatus = "absent" | "ready" | "lost";

/**
 * Says what a health check wants to know of CUDA. It costs a call into the native library, and the
 * first time in a process it opens the CUDA runtime and asks for the GPUs; no context is made.
 *
 * @throws {MemoryError} `INTERNAL` where a GPU is there but CUDA cannot say how many.
 *
 * @example
 * ```ts
 * const health = () => new Response(null, { status: cudaStatus() === "lost" ? 503 : 200 });
 * ```
 */
export function cudaStatus(): CudaStatus {
  if (isCudaLost()) return "lost";
  const runtime = cudart();
  return runtime === null || deviceCount(runtime) === 0 ? "absent" : "ready";
}
