// Machines without a GPU, without a driver, or without a CUDA runtime.

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { type runWithPackage as Run, runWithPackage } from "../support/package.ts";
import { cudartPath } from "../support/toolkit.ts";

/** Starts as a server would, and allocates memory; returns all that the server can observe. */
const startAndAllocate = (async ({
  AllocatedMemory,
  CudaMemoryManager,
  PinnedMemoryManager,
  createMemoryManagers,
  getDeviceMemory,
  getSupportedGpus,
  messagesOf,
  nonpinnedCount,
  outcomeOf,
  pointerAttributes,
}) => {
  const gpus = getSupportedGpus();
  const managers = createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 4096 } });
  const memory = new AllocatedMemory(1000, "GPU", 0);
  const { memoryType, memoryTypeId, totalByteSize } = memory;
  memory.write(new Uint8Array(1000).fill(7));
  const back = new Uint8Array(1000);
  memory.read(back);
  const attributes = pointerAttributes(memory.pointer!);
  const deviceMemory = outcomeOf(() => getDeviceMemory(0)).split(":", 1)[0];
  const cudaAlloc = outcomeOf(() => CudaMemoryManager.alloc(1, 0));
  const pinnedByteSize = PinnedMemoryManager.totalByteSize;
  const liveCount = nonpinnedCount();
  memory.free();
  managers[Symbol.dispose]();
  return {
    gpus,
    memory: { memoryType, memoryTypeId, totalByteSize },
    isIntact: back.every((byte) => byte === 7),
    attributes,
    deviceMemory,
    cudaAlloc,
    pinnedByteSize,
    liveCounts: [liveCount, nonpinnedCount()],
    warnings: messagesOf("warn"),
    errors: messagesOf("error"),
  };
}) satisfies Parameters<typeof Run>[1];

const inSystemMemory = {
  gpus: [],
  memory: { memoryType: "CPU", memoryTypeId: 0, totalByteSize: 1000 },
  isIntact: true,
  attributes: { type: "unregistered", device: -2 },
  deviceMemory: "UNAVAILABLE",
  pinnedByteSize: 0,
  liveCounts: [1, 0],
} as const;

describe("without a GPU everything falls back to system memory", () => {
  test("on a simulated machine that has none", () => {
    const result = runWithPackage(
      { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath, CUDART_SIM_DEVICES: "none" },
      startAndAllocate,
    );
    expect(result).toMatchObject(inSystemMemory);
    expect(result.cudaAlloc).toStartWith("UNAVAILABLE");
    expect(result.errors).toEqual([]);
    expect(result.warnings).toHaveLength(4);
    expect(result.warnings[0]).toContain("GPU 0");
    expect(result.warnings[1]).toContain("bytes for the pinned memory pool");
    expect(result.warnings[1]).toContain("returned cudaErrorNoDevice (100)");
    expect(result.warnings[2]).toContain("falling back to pinned system memory");
    expect(result.warnings[3]).toContain("falling back to non-pinned system memory");
  });

  test("with a driver that is too old", () => {
    const result = runWithPackage(
      {
        BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
        CUDART_SIM_DEVICES: "none",
        CUDART_SIM_FAULTS: "cudaGetDeviceCount:1:35",
      },
      ({ getSupportedGpus, messagesOf }) => [getSupportedGpus(), messagesOf("error")],
    );
    expect(result).toEqual([[], []]);
  });

  test.each([
    ["a file that is not there", "/nonexistent/libcudart.so"],
    ["a folder", tmpdir()],
    ["a library that is not CUDA's", "libc.so.6"],
    ["a text file", import.meta.path],
  ])("with BUN_CUDA_MEMORY_CUDART naming %s, and an error says so", (_, path) => {
    const result = runWithPackage({ BUN_CUDA_MEMORY_CUDART: path }, startAndAllocate);
    expect(result).toMatchObject(inSystemMemory);
    expect(result.errors).toHaveLength(1);
    expect(result.errors[0]).toContain("BUN_CUDA_MEMORY_CUDART names");
    expect(result.errors[0]).toContain(path);
    expect(result.warnings.join("\n")).toContain("there is no CUDA runtime");
  });

  test.skipIf(cudartPath === undefined || existsSync("/dev/nvidiactl"))(
    "with the real CUDA runtime and no driver (skipped where there is no libcudart, or a driver)",
    () => {
      const result = runWithPackage({ BUN_CUDA_MEMORY_CUDART: cudartPath! }, startAndAllocate);
      expect(result).toMatchObject(inSystemMemory);
      expect(result.errors).toEqual([]);
      expect(result.warnings.join("\n")).toContain("returned cudaErrorInsufficientDriver");
    },
  );
});
