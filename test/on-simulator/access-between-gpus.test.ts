import { describe, expect, test } from "bun:test";
import { createMemoryManagers, CudaMemoryManager } from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { isSimulated, logged } from "../support/runtime.ts";
import { resetSimulatorAfterEach } from "./slow-gpu.ts";

resetSimulatorAfterEach();

describe.skipIf(!isSimulated)("access between GPUs (on the simulator only)", () => {
  test("is enabled for all supported pairs, once", () => {
    const before = CudartSimulator.callCount("cudaDeviceEnablePeerAccess");
    for (let i = 0; i < 2; i++) {
      using _managers = createMemoryManagers({ pinnedMemoryPoolByteSize: 0 });
      expect(logged.warn).toEqual([]);
    }
    expect(CudartSimulator.callCount("cudaDeviceEnablePeerAccess") - before).toBe(4);
  });

  test("that cannot be had is only a warning", () => {
    CudartSimulator.failCall({ function: "cudaDeviceEnablePeerAccess", nth: 1, error: 999 });
    using _managers = createMemoryManagers({ pinnedMemoryPoolByteSize: 0 });
    expect(logged.warn).toHaveLength(1);
    expect(logged.warn[0]).toMatch(
      /let GPUs access each other's memory \(1 ways: 0 to 1\).*returned/,
    );
    expect(CudaMemoryManager.stats(1).capacityByteSize).toBe(67108864);
  });
});
