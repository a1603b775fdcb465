import { describe, expect, test } from "bun:test";
import { cuda as ownCuda } from "./cudart.ts";
import { runOn, spawnOn } from "./process.ts";

describe("injected faults", () => {
  test("come from the environment, by number and by name", () => {
    const faults = "cudaMalloc:2:2,cudaSetDevice:1:101,cudaMalloc:3:cudaErrorUnknown";
    const result = runOn({ faults }, ({ cuda, CudartSimulator: simulator }) => ({
      set: [cuda.setDevice(0), cuda.setDevice(0)],
      allocations: Array.from({ length: 4 }, () => cuda.malloc(256).error),
      live: simulator.liveDeviceMemory(0).blockCount,
      lastError: cuda.lastError(),
    }));
    expect(result).toEqual({ set: [101, 0], allocations: [0, 2, 999, 0], live: 2, lastError: 999 });
  });

  test.each([
    "cudaMalloc",
    "cudaMalloc:1",
    "cudaMalloc:1:",
    "cudaMalloc:0:2",
    "cudaMalloc:1:0",
    "cudaMalloc:1:cudaSuccess",
    "cudaMalloc:1:5000",
    "cudaMalloc:1:cudaErrorNoSuch",
    "cudaMalloc:first:2",
    "cudaMalloc:1:2,",
    "cudaMalloc:1:2:",
    "cudaNoSuch:1:2",
    "cudaGetErrorName:1:2",
    ":1:2",
    `${"x".repeat(100)}:1:2`,
  ])("of a malformed environment: %p", (faults) => {
    const { stdout, stderr } = spawnOn({ faults }, ({ cuda }) => cuda.malloc(256).error);
    expect(JSON.parse(stdout)).toBe(3);
    expect(stderr).toStartWith(`cudart_sim: CUDART_SIM_FAULTS="${faults}" is malformed: expected`);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("hit every function that returns an error, once, and become the last error", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) =>
      cuda.countedFunctions.map((name) => {
        cuda.lastError();
        simulator.failCall({ function: name, error: 720 });
        const failed = cuda.callWithZeros(name);
        const lastError = cuda.peekError();
        return [name, failed, lastError, cuda.callWithZeros(name) !== 720];
      }),
    );
    const reportLastError = ["cudaGetLastError", "cudaPeekAtLastError"];
    expect(result.length).toBeGreaterThan(15);
    expect(result).toEqual(
      ownCuda.countedFunctions.map((name) => [
        name,
        720,
        reportLastError.includes(name) ? 0 : 720,
        true,
      ]),
    );
  });

  test("leave the call without effect", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      simulator.failCall({ function: "cudaMalloc", error: 2 });
      const malloc = cuda.malloc(256);
      const { value } = cuda.malloc(256);
      simulator.failCall({ function: "cudaFree", error: 4 });
      simulator.failCall({ function: "cudaMemset", error: 46 });
      cuda.memset(value, 1, 256);
      const filledAgain = cuda.memset(value, 0x55, 128);
      return {
        malloc,
        filledAgain,
        bytes: [...new Set(cuda.bytesOf(value, 256).slice(0, 128))],
        freed: [cuda.free(value), simulator.liveDeviceMemory(0).blockCount, cuda.free(value)],
      };
    });
    expect(result).toEqual({
      malloc: { error: 2, value: -1 },
      filledAgain: 0,
      bytes: [0x55],
      freed: [4, 1, 0],
    });
  });

  test("count from now, each function by itself", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      cuda.malloc(256);
      cuda.malloc(256);
      simulator.failCall({ function: "cudaMalloc", nth: 3, error: "cudaErrorMemoryAllocation" });
      simulator.failCall({ function: "cudaMalloc", nth: 1, error: 46 });
      cuda.hostAlloc(256);
      return Array.from({ length: 4 }, () => cuda.malloc(256).error);
    });
    expect(result).toEqual([46, 0, 2, 0]);
  });

  test("are replaced by a second one for the same call, and cleared together", () => {
    const result = runOn({ faults: "cudaMalloc:3:2" }, ({ cuda, CudartSimulator: simulator }) => {
      simulator.failCall({ function: "cudaMalloc", error: 2 });
      simulator.failCall({ function: "cudaMalloc", error: 999 });
      const replaced = cuda.malloc(256).error;
      simulator.failCall({ function: "cudaMalloc", error: 2 });
      simulator.clearFaults();
      return { replaced, cleared: [cuda.malloc(256).error, cuda.malloc(256).error] };
    });
    expect(result).toEqual({ replaced: 999, cleared: [0, 0] });
  });

  test("come before the lack of a device", () => {
    const machine = { devices: "none", faults: "cudaGetDeviceCount:1:35" };
    const result = runOn(machine, ({ cuda }) => [
      cuda.deviceCount().error,
      cuda.deviceCount().error,
    ]);
    expect(result).toEqual([35, 100]);
  });
});
