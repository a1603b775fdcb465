import { MemoryError } from "../memory-error.ts";
import type { Cudart } from "./cudart.ts";
import { cudaError } from "./cudart-symbols.ts";

/**
 * Checks what a call returned. Also takes the error out of the thread's last error, where the next
 * user of CUDA would find it.
 *
 * @throws {MemoryError} `INTERNAL`, with the call and CUDA's name and text, for a failed call.
 */
export function checkCuda(
  cudart: Cudart,
  error: number,
  functionName: keyof Cudart,
  doing: string,
): void {
  if (error === cudaError.cudaSuccess) return;
  const name = cudart.cudaGetErrorName(error);
  const text = cudart.cudaGetErrorString(error);
  cudart.cudaGetLastError();
  throw new MemoryError(
    "INTERNAL",
    `failed to ${doing}: ${functionName} returned ${name} (${error}): ${text}`,
    { cudaError: error },
  );
}
