import type { FFIFunction } from "bun:ffi";

/**
 * Every function of the CUDA runtime that this package uses, as bun:ffi declares it. The tests
 * compare this table with `cuda_runtime_api.h` where the CUDA toolkit is installed.
 *
 * All of these exist, with these signatures, in CUDA 11, 12 and 13.
 */
export const cudartSymbols = {
  cudaRuntimeGetVersion: { args: ["ptr"], returns: "i32" },
  cudaDriverGetVersion: { args: ["ptr"], returns: "i32" },
  cudaGetErrorName: { args: ["i32"], returns: "cstring" },
  cudaGetErrorString: { args: ["i32"], returns: "cstring" },
  cudaGetLastError: { args: [], returns: "i32" },
  cudaGetDeviceCount: { args: ["ptr"], returns: "i32" },
  cudaDeviceGetAttribute: { args: ["ptr", "i32", "i32"], returns: "i32" },
  cudaGetDevice: { args: ["ptr"], returns: "i32" },
  cudaSetDevice: { args: ["i32"], returns: "i32" },
  cudaMalloc: { args: ["ptr", "u64"], returns: "i32" },
  cudaFree: { args: ["ptr"], returns: "i32" },
  cudaHostAlloc: { args: ["ptr", "u64", "u32"], returns: "i32" },
  cudaFreeHost: { args: ["ptr"], returns: "i32" },
  cudaMemGetInfo: { args: ["ptr", "ptr"], returns: "i32" },
  cudaMemcpy: { args: ["ptr", "ptr", "u64", "i32"], returns: "i32" },
  cudaMemcpyAsync: { args: ["ptr", "ptr", "u64", "i32", "ptr"], returns: "i32" },
  cudaMemset: { args: ["ptr", "i32", "u64"], returns: "i32" },
  cudaDeviceSynchronize: { args: [], returns: "i32" },
  cudaDeviceCanAccessPeer: { args: ["ptr", "i32", "i32"], returns: "i32" },
  cudaDeviceEnablePeerAccess: { args: ["i32", "u32"], returns: "i32" },
  cudaStreamCreateWithFlags: { args: ["ptr", "u32"], returns: "i32" },
  cudaStreamDestroy: { args: ["ptr"], returns: "i32" },
  cudaStreamQuery: { args: ["ptr"], returns: "i32" },
  cudaStreamSynchronize: { args: ["ptr"], returns: "i32" },
  cudaStreamWaitEvent: { args: ["ptr", "ptr", "u32"], returns: "i32" },
  cudaStreamIsCapturing: { args: ["ptr", "ptr"], returns: "i32" },
  cudaThreadExchangeStreamCaptureMode: { args: ["ptr"], returns: "i32" },
  cudaEventCreateWithFlags: { args: ["ptr", "u32"], returns: "i32" },
  cudaEventDestroy: { args: ["ptr"], returns: "i32" },
  cudaEventRecord: { args: ["ptr", "ptr"], returns: "i32" },
  cudaEventQuery: { args: ["ptr"], returns: "i32" },
  cudaPointerGetAttributes: { args: ["ptr", "ptr"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>;

/**
 * Functions of the CUDA runtime that this package does not call itself. The simulator has them for
 * tests that do.
 */
export const extraCudartSymbols = {
  cudaPeekAtLastError: { args: [], returns: "i32" },
  cudaDeviceDisablePeerAccess: { args: ["i32"], returns: "i32" },
  cudaStreamCreate: { args: ["ptr"], returns: "i32" },
  cudaStreamBeginCapture: { args: ["ptr", "i32"], returns: "i32" },
  cudaStreamEndCapture: { args: ["ptr", "ptr"], returns: "i32" },
  cudaGraphDestroy: { args: ["ptr"], returns: "i32" },
  cudaLaunchHostFunc: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  cudaEventCreate: { args: ["ptr"], returns: "i32" },
  cudaEventSynchronize: { args: ["ptr"], returns: "i32" },
  cudaEventElapsedTime: { args: ["ptr", "ptr", "ptr"], returns: "i32" },
  cudaMemcpyPeerAsync: { args: ["ptr", "i32", "ptr", "i32", "u64", "ptr"], returns: "i32" },
  cudaMemsetAsync: { args: ["ptr", "i32", "u64", "ptr"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>;

/** The values of `cudaError_t` that this package tells apart. */
export const cudaError = {
  cudaSuccess: 0,
  cudaErrorStubLibrary: 34,
  cudaErrorInsufficientDriver: 35,
  cudaErrorNoDevice: 100,
} as const;

/** The values of `enum cudaDeviceAttr` that this package asks for. */
export const cudaDeviceAttr = {
  cudaDevAttrComputeCapabilityMajor: 75,
  cudaDevAttrComputeCapabilityMinor: 76,
} as const;

/** The names of `enum cudaMemoryType`, in the order of its values. */
export const cudaMemoryTypes = ["unregistered", "host", "device", "managed"] as const;

/**
 * Byte offsets in `struct cudaPointerAttributes`, and enough bytes for it in every CUDA version.
 */
export const cudaPointerAttributes = { type: 0, device: 4, byteSize: 128 } as const;
