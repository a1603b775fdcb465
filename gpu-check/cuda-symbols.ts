import type { FFIFunction } from "bun:ffi";

/**
 * The functions of the CUDA runtime that only the check calls and the simulator does not have, as
 * bun:ffi declares them. The tests compare this table with `cuda_runtime_api.h` where the CUDA
 * toolkit is installed.
 *
 * None takes a struct: `cudaDeviceProp`, which has the GPU's name, is laid out anew by every
 * version of CUDA.
 */
export const realCudartSymbols = {
  cudaDeviceGetPCIBusId: { args: ["ptr", "i32", "i32"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>;
