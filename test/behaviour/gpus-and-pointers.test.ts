import { describe, expect, test } from "bun:test";
import { CudaMemoryManager, getSupportedGpus, pointerAttributes } from "../../src/index.ts";
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
