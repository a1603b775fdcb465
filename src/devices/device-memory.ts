import { checkDeviceId } from "../arguments.ts";
import { MemoryError } from "../memory-error.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { deviceMemory as at } from "../native/memory-symbols.ts";
import { checkStatus } from "../native/status.ts";
import { newStruct } from "../native/struct.ts";
import { absentReason } from "./supported-gpus.ts";

/** What {@link getDeviceMemory} returns: bytes of a GPU, whoever uses them. */
export interface DeviceMemory {
  /** Bytes that nobody uses: no pool, no context, and no other process. */
  freeByteSize: number;
  /** Bytes that CUDA has on the GPU. */
  totalByteSize: number;
}

/**
 * Asks CUDA how much memory a GPU has, and how much of it is free. A pool counts as used as a whole;
 * what is free in it, {@link CudaMemoryManager.stats} tells. It makes a CUDA context on the GPU, which
 * takes memory itself. The calling thread's current CUDA device stays as it is.
 *
 * @param deviceId The GPU's CUDA ordinal. Its compute capability does not matter.
 * @throws {MemoryError} `INVALID_ARG` for what cannot be an ordinal; `UNAVAILABLE` where there is no
 * such GPU; `INTERNAL` where CUDA fails, and `DEVICE_LOST` where it has failed for good.
 *
 * @example
 * ```ts
 * const { freeByteSize, totalByteSize } = getDeviceMemory(0);
 * console.log(`${freeByteSize} of ${totalByteSize} bytes are free`);
 * ```
 */
export function getDeviceMemory(deviceId: number): DeviceMemory {
  checkDeviceId("getDeviceMemory", deviceId);
  const reason = absentReason(deviceId);
  if (reason !== null) {
    throw new MemoryError("UNAVAILABLE", `getDeviceMemory of GPU ${deviceId}: ${reason}`);
  }
  const memory = newStruct(at);
  checkStatus(memoryLibrary.cuda_device_memory(deviceId, memory));
  return {
    freeByteSize: memory[at.free_byte_size]!,
    totalByteSize: memory[at.total_byte_size]!,
  };
}
