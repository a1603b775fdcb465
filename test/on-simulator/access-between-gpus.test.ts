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

  test("is enabled for a first pool as it was wanted", () => {
    for (const enablePeerAccess of [true, false]) {
      using _managers = createMemoryManagers({
        cudaMemoryPoolByteSize: { 1: 0 },
        pinnedMemoryPoolByteSize: 0,
        enablePeerAccess,
      });
      const before = CudartSimulator.callCount("cudaDeviceEnablePeerAccess");
      const calls = () => CudartSimulator.callCount("cudaDeviceEnablePeerAccess") - before;
      CudaMemoryManager.resize(0, 4096);
      expect(calls()).toBe(0);
      CudaMemoryManager.resize(1, 4096);
      expect(calls()).toBe(enablePeerAccess ? 2 : 0);
      CudaMemoryManager.resize(1, 8192);
      expect(calls()).toBe(enablePeerAccess ? 2 : 0);
    }
    CudaMemoryManager.create({ memoryPoolByteSize: { 0: 4096 } });
    const before = CudartSimulator.callCount("cudaDeviceEnablePeerAccess");
    CudaMemoryManager.resize(1, 4096);
    expect(CudartSimulator.callCount("cudaDeviceEnablePeerAccess")).toBe(before);
    expect(logged.warn).toEqual([]);
  });

  test("that cannot be had for a first pool is only a warning", () => {
    using _managers = createMemoryManagers({
      cudaMemoryPoolByteSize: { 1: 0 },
      pinnedMemoryPoolByteSize: 0,
    });
    CudartSimulator.failCall({ function: "cudaDeviceCanAccessPeer", nth: 1, error: 999 });
    CudaMemoryManager.resize(1, 4096);
    expect(logged.warn).toEqual([expect.stringContaining("let GPUs access each other's memory")]);
    expect(CudaMemoryManager.stats(1).capacityByteSize).toBe(4096);
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
