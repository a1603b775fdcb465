import { describe, expect, test } from "bun:test";
import { AllocatedMemory, CudaMemoryManager } from "../../src/index.ts";
import { cudart } from "../../src/native/cudart.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { isSimulated, resetAfterEach } from "../support/runtime.ts";
import { createBoth, functions, reset, scenarios, withMemories } from "./scenarios.ts";

resetAfterEach();

function currentDevice(): number {
  const device = new Int32Array(1);
  expect(cudart()!.cudaGetDevice(device)).toBe(0);
  return device[0]!;
}

describe.skipIf(!isSimulated)("the CUDA calls of the package (on the simulator only)", () => {
  test("the current device is the same before and after everything", () => {
    for (const device of [1, 2, 0]) {
      expect(cudart()!.cudaSetDevice(device)).toBe(0);
      for (const scenario of scenarios) {
        scenario.prepare?.();
        scenario.run();
        reset();
        expect(currentDevice(), scenario.name).toBe(device);
      }
      expect(() =>
        CudaMemoryManager.create({ memoryPoolByteSize: { 0: 512, 1: 2 ** 50 } }),
      ).toThrow();
      expect(currentDevice()).toBe(device);
    }
  });

  test("an allocation makes no CUDA call", () => {
    createBoth();
    const before = functions.map((name) => CudartSimulator.callCount(name));
    withMemories(() => {});
    new AllocatedMemory(100_000, "GPU", 0).free();
    expect(functions.map((name) => CudartSimulator.callCount(name))).toEqual(before);
  });
});
