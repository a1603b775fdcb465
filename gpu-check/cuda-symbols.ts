import type { FFIFunction } from "bun:ffi";

// The functions of the CUDA runtime that only the check calls, as bun:ffi declares them. The tests
// compare these tables with `cuda_runtime_api.h` where the CUDA toolkit is installed.
//
// None takes a struct: that of the device properties, which has the GPU's name, is laid out anew by
// every version of CUDA. Attributes are the same in all of them.

export const checkSymbols = {
  cudaPeekAtLastError: { args: [], returns: "i32" },
  cudaMemGetInfo: { args: ["ptr", "ptr"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>;

/** What the simulator has not. */
export const realSymbols = {
  cudaDeviceGetPCIBusId: { args: ["ptr", "i32", "i32"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>;
