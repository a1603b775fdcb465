import type { FFIFunction } from "bun:ffi";

/**
 * The simulator's control functions, as bun:ffi declares them. The tests compare this table with
 * `simulator/cudart_sim.h`.
 */
export const simulatorSymbols = {
  cudartSimSetVariable: { args: ["ptr", "ptr"], returns: "i32" },
  cudartSimFailCall: { args: ["ptr", "u64", "i32"], returns: "i32" },
  cudartSimFailOperation: { args: ["u64", "i32"], returns: "i32" },
  cudartSimClearFaults: { args: [], returns: "i32" },
  cudartSimGetCallCount: { args: ["ptr", "ptr"], returns: "i32" },
  cudartSimGetLiveDeviceMemory: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  cudartSimGetLiveHostMemory: { args: ["ptr", "ptr"], returns: "i32" },
  cudartSimHasContext: { args: ["i32", "ptr"], returns: "i32" },
  cudartSimGetLiveHandles: { args: ["ptr", "ptr"], returns: "i32" },
  cudartSimSetDelay: { args: ["f64", "f64"], returns: "i32" },
  cudartSimGetDelay: { args: ["ptr", "ptr"], returns: "i32" },
  cudartSimGetErrorNumber: { args: ["ptr", "ptr"], returns: "i32" },
} as const satisfies Record<string, FFIFunction>;

/** `CUDART_SIM_DELAY_NS_MAX`: the most nanoseconds of a delay for a byte and for an operation. */
export const delayNsMax = 1e9;
