import { MemoryError } from "../memory-error.ts";
import type { Cudart } from "./cudart.ts";
import { cudaError } from "./cudart-symbols.ts";
import { cString } from "./c-string.ts";
import { memoryLibrary } from "./memory-library.ts";
import { memoryStatus } from "./memory-symbols.ts";
import { nativeError, reportLostCuda } from "./status.ts";

/** Whether CUDA has failed for good in this process. */
export function isCudaLost(): boolean {
  return memoryLibrary.cuda_check_lost() !== memoryStatus.MEMORY_OK;
}

/**
 * Checks that CUDA may be called: once it has failed for good, it is not called any more.
 *
 * @throws {MemoryError} `DEVICE_LOST`
 */
export function checkNotLost(doing: string): void {
  const status = memoryLibrary.cuda_refuse_if_lost(cString(doing));
  if (status !== memoryStatus.MEMORY_OK) throw nativeError(status);
}

/**
 * Checks what a call returned. Also takes the error out of the thread's last error, where the next
 * user of CUDA would find it.
 *
 * @throws {MemoryError} `INTERNAL`, with the call and CUDA's name and text, for a failed call;
 * `DEVICE_LOST` where CUDA has failed for good.
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
  const isLost =
    memoryLibrary.cuda_note_error(error, cString(functionName)) !== memoryStatus.MEMORY_OK;
  if (isLost) reportLostCuda();
  else cudart.cudaGetLastError();
  throw new MemoryError(
    isLost ? "DEVICE_LOST" : "INTERNAL",
    `failed to ${doing}: ${functionName} returned ${name} (${error}): ${text}`,
    { cudaError: error },
  );
}
