import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { CudartSimulator, simulatorLibraryPath } from "../../src/simulator.ts";
import { cuda as ownCuda } from "./cudart.ts";
import { runOn } from "./process.ts";

describe("CudartSimulator", () => {
  test("is in a library at an absolute path", () => {
    expect(isAbsolute(simulatorLibraryPath)).toBeTrue();
    expect(existsSync(simulatorLibraryPath)).toBeTrue();
  });

  test("counts calls, failed ones included", () => {
    const before = CudartSimulator.callCount("cudaGetDevice");
    ownCuda.currentDevice();
    ownCuda.callWithZeros("cudaGetDevice");
    expect(CudartSimulator.callCount("cudaGetDevice")).toBe(before + 2);
  });

  test("knows every function that it is typed for", () => {
    for (const name of ownCuda.countedFunctions) {
      expect(CudartSimulator.callCount(name)).toBeGreaterThanOrEqual(0);
    }
  });

  test.each([
    ["a function it does not have", { function: "cudaNoSuch" }, RangeError, "no function cudaNoSu"],
    ["a function without errors", { function: "cudaGetErrorName" }, RangeError, "no function cuda"],
    ["a function that is no string", { function: 7 }, TypeError, "name must be a string"],
    ["a missing function", { function: undefined }, TypeError, "name must be a string"],
    ["a missing error", { error: undefined }, TypeError, "error must be a number"],
    ["success as an error", { error: 0 }, RangeError, "error must be an integer from 1"],
    ["a fractional error", { error: 1.5 }, RangeError, "error must be an integer from 1"],
    ["an unknown error", { error: 5000 }, RangeError, "no error 5000"],
    ["success by name", { error: "cudaSuccess" }, RangeError, "no error cudaSuccess"],
    ["an unknown error's name", { error: "cudaErrorNo" }, RangeError, "no error cudaErrorNo"],
    ["a call before the next", { nth: 0 }, RangeError, "nth must be an integer from 1"],
    ["a call that is no number", { nth: Number.NaN }, RangeError, "nth must be an integer from 1"],
    ["a call that is a bigint", { nth: 1n }, TypeError, "nth must be a number"],
  ])("refuses %s, and nothing fails then", (_, wrong, errorType, message) => {
    const failure = { function: "cudaMalloc", error: 2, ...wrong } as never;
    expect(() => CudartSimulator.failCall(failure)).toThrow(errorType);
    expect(() => CudartSimulator.failCall(failure)).toThrow(message);
    const block = ownCuda.malloc(256);
    expect(block.error).toBe(0);
    expect(ownCuda.free(block.value)).toBe(0);
  });

  test("refuses to count and to measure what is not there", () => {
    expect(() => CudartSimulator.callCount("cudaNoSuch" as never)).toThrow(RangeError);
    expect(() => CudartSimulator.callCount(undefined as never)).toThrow(TypeError);
    expect(() => CudartSimulator.liveDeviceMemory(512)).toThrow("the simulator has no device 512");
    expect(() => CudartSimulator.liveDeviceMemory(-1)).toThrow(RangeError);
    expect(() => CudartSimulator.liveDeviceMemory(0.5)).toThrow(RangeError);
    expect(() => CudartSimulator.liveDeviceMemory("0" as never)).toThrow(TypeError);
  });

  test("says when the environment is malformed", () => {
    const messages = runOn({ devices: "?" }, ({ CudartSimulator: simulator }) => {
      const attempts = [
        () => simulator.failCall({ function: "cudaMalloc", error: 2 }),
        () => simulator.failOperation({ error: 2 }),
        () => simulator.clearFaults(),
        () => simulator.callCount("cudaMalloc"),
        () => simulator.liveDeviceMemory(0),
        () => simulator.liveHostMemory(),
        () => simulator.liveHandles(),
        () => simulator.setDelay({}),
        () => simulator.delay(),
      ];
      return attempts.map((attempt) => {
        try {
          return String(attempt());
        } catch (error) {
          return String(error);
        }
      });
    });
    expect(messages).toHaveLength(9);
    for (const message of messages) {
      expect(message).toContain("one of its CUDART_SIM_ variables is malformed");
    }
  });

  test("has no device where there is none, but host memory", () => {
    const result = runOn({ devices: "none" }, ({ CudartSimulator: simulator }) => {
      let message = "";
      try {
        simulator.liveDeviceMemory(0);
      } catch (error) {
        message = String(error);
      }
      return { message, host: simulator.liveHostMemory() };
    });
    expect(result).toEqual({
      message: "RangeError: the simulator has no device 0",
      host: { blockCount: 0, byteSize: 0 },
    });
  });
});
