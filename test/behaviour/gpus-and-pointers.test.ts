import { describe, expect, test } from "bun:test";
import {
  CudaMemoryManager,
  getDeviceMemory,
  getSupportedGpus,
  pointerAttributes,
} from "../../src/index.ts";
import { cudart } from "../../src/native/cudart.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, pointerPlus, untyped } from "../support/values.ts";

resetAfterEach();

const [gpu = 0] = gpus;

function createPool(byteSize: number): void {
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: byteSize } });
}

describe("getSupportedGpus and pointerAttributes", () => {
  test("the GPUs that are supported become fewer as the minimum rises", () => {
    expect(getSupportedGpus(0).length).toBeGreaterThanOrEqual(gpus.length);
    expect(getSupportedGpus(99)).toEqual([]);
    expect(getSupportedGpus()).toEqual([...gpus].sort((a, b) => a - b));
  });

  test("bad arguments are refused", () => {
    for (const value of [NaN, Infinity, -1, "6.0", null, {}]) {
      expectMemoryError("INVALID_ARG", () => getSupportedGpus(untyped(value)));
    }
    for (const value of [...notWholeNumbers, 0]) {
      expectMemoryError("INVALID_ARG", () => pointerAttributes(untyped(value)));
    }
  });

  test("an address that CUDA does not know is unregistered", () => {
    expect(pointerAttributes(untyped(0x1234_0000)).type).toBe("unregistered");
  });

  test("an address inside an allocation is the GPU's, after a reset it is not", () => {
    createPool(1024 ** 2);
    const pointer = CudaMemoryManager.alloc(4096, gpu);
    expect(pointerAttributes(pointerPlus(pointer, 4095)).type).toBe("device");
    CudaMemoryManager.reset();
    expect(pointerAttributes(pointer).type).toBe("unregistered");
  });
});

describe("getDeviceMemory", () => {
  test("counts what a pool takes of its GPU, and what comes back", () => {
    for (const id of gpus) {
      const { freeByteSize, totalByteSize } = getDeviceMemory(id);
      expect(totalByteSize).toBeGreaterThan(0);
      expect(freeByteSize).toBeLessThanOrEqual(totalByteSize);
      CudaMemoryManager.create({ memoryPoolByteSize: { [id]: 64 * 1024 ** 2 } });
      const taken = getDeviceMemory(id);
      expect(taken.totalByteSize).toBe(totalByteSize);
      expect(freeByteSize - taken.freeByteSize).toBeGreaterThanOrEqual(64 * 1024 ** 2);
      CudaMemoryManager.reset();
      expect(getDeviceMemory(id).freeByteSize).toBeGreaterThan(taken.freeByteSize);
    }
  });

  test("leaves the thread's current device as it is", () => {
    const current = new Int32Array(1);
    for (const device of gpus.toReversed()) {
      expect(cudart()!.cudaSetDevice(device)).toBe(0);
      for (const id of gpus) getDeviceMemory(id);
      expect(cudart()!.cudaGetDevice(current)).toBe(0);
      expect(current[0]).toBe(device);
    }
    expect(cudart()!.cudaSetDevice(gpu)).toBe(0);
  });

  test("what is no GPU is refused", () => {
    for (const value of [...notWholeNumbers, -0]) {
      expectMemoryError("INVALID_ARG", () => getDeviceMemory(untyped(value)));
    }
    expect(expectMemoryError("UNAVAILABLE", () => getDeviceMemory(77))).toContain("GPU 77");
    expectMemoryError("UNAVAILABLE", () => getDeviceMemory(2 ** 53 - 1));
  });
});
