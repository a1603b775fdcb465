import type { Pointer } from "bun:ffi";
import { checkPointer } from "../arguments.ts";
import { deviceCount } from "../native/cuda-device.ts";
import { readPointerAttributes } from "../native/cuda-pointer.ts";
import { cudart } from "../native/cudart.ts";
import type { cudaMemoryTypes } from "../native/cudart-symbols.ts";
import { memoryLibrary } from "../native/memory-library.ts";

const { cuda_has_context } = memoryLibrary;

/** CUDA's own number for "no device". */
const cudaInvalidDeviceId = -2;

/** What CUDA knows of an address. */
export interface PointerAttributes {
  /** `"unregistered"` is ordinary host memory, or no memory at all. */
  type: (typeof cudaMemoryTypes)[number];
  /** The GPU that the memory belongs to; -2 (CUDA's "no device") for unregistered memory. */
  device: number;
}

/**
 * Asks the CUDA runtime what kind of memory an address lies in. Where there is no GPU, or nothing in
 * the process has used one yet, every address is unregistered. It starts nothing on a GPU.
 *
 * @throws {MemoryError} `INVALID_ARG` for anything but a number above 0, `INTERNAL` where CUDA
 * fails, and `DEVICE_LOST` where it has failed for good.
 *
 * @example
 * ```ts
 * pointerAttributes(CudaMemoryManager.alloc(1024, 0)); // { type: "device", device: 0 }
 * ```
 */
export function pointerAttributes(pointer: Pointer): PointerAttributes {
  checkPointer("pointerAttributes", pointer);
  const runtime = cudart();
  // Without a context CUDA knows no memory, and asking it could make one.
  const gpuCount = runtime === null ? 0 : deviceCount(runtime);
  if (runtime === null || gpuCount === 0) return unregistered();
  if (cuda_has_context(gpuCount) === 0) return unregistered();
  const attributes = readPointerAttributes(runtime, pointer);
  return attributes.type === "unregistered" ? unregistered() : attributes;
}

function unregistered(): PointerAttributes {
  return { type: "unregistered", device: cudaInvalidDeviceId };
}
