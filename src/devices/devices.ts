import type { Pointer } from "bun:ffi";
import { checkComputeCapability, checkPointer } from "../arguments.ts";
import { checkCuda, cudart, type Cudart } from "../native/cudart.ts";
import {
  cudaDeviceAttr,
  cudaError,
  cudaMemoryTypes,
  cudaPointerAttributes,
} from "../native/cudart-symbols.ts";

/** Compute capability that a GPU must have by default, as in Triton. */
export const defaultMinComputeCapability = 6.0;

/** CUDA's own number for "no device". */
const cudaInvalidDeviceId = -2;

/**
 * Errors that say no more than that this machine has no GPU that could be used: none is there, or
 * its driver is missing (a build container has a stub in its place) or too old.
 */
const noDeviceErrors: readonly number[] = [
  cudaError.cudaErrorNoDevice,
  cudaError.cudaErrorInsufficientDriver,
  cudaError.cudaErrorStubLibrary,
];

function deviceCount(runtime: Cudart): number {
  const count = new Int32Array(1);
  const error = runtime.cudaGetDeviceCount(count);
  if (noDeviceErrors.includes(error)) {
    runtime.cudaGetLastError(); // noted: this thread's next user of CUDA must not find it
    return 0;
  }
  checkCuda(runtime, error, "cudaGetDeviceCount", "count the GPUs");
  return count[0]!;
}

/** How many GPUs CUDA has, supported or not; without a CUDA runtime none. */
export function gpuCount(): number {
  const runtime = cudart();
  return runtime === null ? 0 : deviceCount(runtime);
}

function attribute(runtime: Cudart, name: keyof typeof cudaDeviceAttr, deviceId: number): number {
  const value = new Int32Array(1);
  const error = runtime.cudaDeviceGetAttribute(value, cudaDeviceAttr[name], deviceId);
  checkCuda(runtime, error, "cudaDeviceGetAttribute", `read ${name} of GPU ${deviceId}`);
  return value[0]!;
}

function computeCapability(runtime: Cudart, deviceId: number): number {
  const major = attribute(runtime, "cudaDevAttrComputeCapabilityMajor", deviceId);
  const minor = attribute(runtime, "cudaDevAttrComputeCapabilityMinor", deviceId);
  return major + minor / 10;
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

/** What CUDA knows of an address. */
export interface PointerAttributes {
  /** `"unregistered"` is ordinary host memory, or no memory at all. */
  type: (typeof cudaMemoryTypes)[number];
  /** The GPU that the memory belongs to; -2 (CUDA's "no device") for unregistered memory. */
  device: number;
}

/**
 * Asks the CUDA runtime what kind of memory an address lies in. Where there is no GPU, every
 * address is unregistered.
 *
 * @throws {MemoryError} `INVALID_ARG` for anything but a number above 0, `INTERNAL` where CUDA
 * fails.
 *
 * @example
 * ```ts
 * pointerAttributes(CudaMemoryManager.alloc(1024, 0)); // { type: "device", device: 0 }
 * ```
 */
export function pointerAttributes(pointer: Pointer): PointerAttributes {
  checkPointer("pointerAttributes", pointer);
  const unregistered: PointerAttributes = { type: "unregistered", device: cudaInvalidDeviceId };
  const runtime = cudart();
  if (runtime === null || deviceCount(runtime) === 0) return unregistered;
  const attributes = new Int32Array(new ArrayBuffer(cudaPointerAttributes.byteSize));
  const error = runtime.cudaPointerGetAttributes(attributes, pointer);
  checkCuda(runtime, error, "cudaPointerGetAttributes", `look up 0x${pointer.toString(16)}`);
  const type = cudaMemoryTypes[attributes[cudaPointerAttributes.type / 4]!];
  if (type === undefined || type === "unregistered") return unregistered;
  return { type, device: attributes[cudaPointerAttributes.device / 4]! };
}
