import { describe, expect, test } from "bun:test";
import { CudaMemoryManager, pointerAttributes } from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, pointerPlus, untyped } from "../support/values.ts";

resetAfterEach();

const [gpu = 0, otherGpu = 1] = gpus;

function createPool(byteSize: number): void {
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: byteSize } });
}

describe("create", () => {
  test("a pool that no GPU has room for is an error that names bytes and GPU", () => {
    const message = expectMemoryError("INTERNAL", () => createPool(2 ** 40));
    expect(message).toContain("1099511627776 bytes");
    expect(message).toContain(`GPU ${gpu}`);
    expect(message).toContain("cudaMalloc returned cudaErrorMemoryAllocation (2): out of memory");
  });

  test("after a failure a later call may succeed", () => {
    expectMemoryError("INTERNAL", () => createPool(2 ** 40));
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(1, gpu));
    createPool(1024);
    expect(CudaMemoryManager.stats(gpu).capacityByteSize).toBe(1024);
  });

  test("a second call warns and changes nothing", () => {
    createPool(1024);
    const pointer = CudaMemoryManager.alloc(512, gpu);
    createPool(4096);
    expect(logged.warn).toEqual([
      "bun-cuda-memory: the CUDA memory manager has been created already; it stays as it is",
    ]);
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({
      capacityByteSize: 1024,
      usedByteSize: 512,
    });
    CudaMemoryManager.free(pointer, gpu);
  });

  test.each([
    ["no options", undefined],
    ["no GPU named", {}],
    ["an empty record", { memoryPoolByteSize: {} }],
    ["size 0", { memoryPoolByteSize: { [gpu]: 0 } }],
  ])("with %s the manager exists with pools disabled", (_, options) => {
    CudaMemoryManager.create(options);
    const message = expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(1, gpu));
    expect(message).toContain("no memory pool");
    CudaMemoryManager.create(options);
    expect(logged.warn).toHaveLength(1);
  });

  test("a GPU that is absent is warned about and left out", () => {
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 1024, 77: 4096 } });
    expect(logged.warn).toHaveLength(1);
    expect(logged.warn[0]).toContain("GPU 77");
    expect(logged.warn[0]).toContain("4096 bytes");
    expect(CudaMemoryManager.stats(gpu).capacityByteSize).toBe(1024);
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(77));
  });

  test("a GPU below the compute capability is warned about and left out", () => {
    CudaMemoryManager.create({
      minSupportedComputeCapability: 99,
      memoryPoolByteSize: { [gpu]: 1024 },
    });
    expect(logged.warn[0]).toContain("99.0");
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(1, gpu));
  });

  test.each([1, 32, 511, 513, 100_000])("a capacity of %d is rounded up to 512", (byteSize) => {
    createPool(byteSize);
    expect(CudaMemoryManager.stats(gpu).capacityByteSize).toBe(Math.ceil(byteSize / 512) * 512);
  });

  test("bad options are refused before anything is touched", () => {
    const bad: unknown[] = [
      null,
      5,
      "options",
      { memoryPoolByteSize: 5 },
      { memoryPoolByteSize: { x: 1 } },
      { memoryPoolByteSize: { "-1": 1 } },
      { memoryPoolByteSize: { 0.5: 1 } },
      { minSupportedComputeCapability: NaN },
      { minSupportedComputeCapability: "6.0" },
      { minSupportedComputeCapability: -1 },
      ...notWholeNumbers.map((value) => ({ memoryPoolByteSize: { [gpu]: value } })),
    ];
    for (const options of bad) {
      expectMemoryError("INVALID_ARG", () => CudaMemoryManager.create(untyped(options)));
    }
    expect(expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(1, gpu))).toContain(
      "has not been created",
    );
  });
});

describe("alloc and free", () => {
  test("before create both are unavailable", () => {
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(1, gpu));
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.free(untyped(512), gpu));
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(gpu));
  });

  test("memory is the GPU's, at a multiple of 512", () => {
    createPool(64 * 1024);
    for (let i = 0; i < 20; i++) {
      const pointer = CudaMemoryManager.alloc(1 + i * 100, gpu);
      expect(pointer % 512).toBe(0);
      expect(pointerAttributes(pointer)).toEqual({ type: "device", device: gpu });
    }
  });

  test("the whole pool can be one allocation, and no more", () => {
    createPool(1024);
    CudaMemoryManager.free(CudaMemoryManager.alloc(1024, gpu), gpu);
    expectMemoryError("OUT_OF_MEMORY", () => CudaMemoryManager.alloc(1025, gpu));
    expectMemoryError("OUT_OF_MEMORY", () => CudaMemoryManager.alloc(Number.MAX_SAFE_INTEGER, gpu));
  });

  // 2047 and its neighbours fill a step of the tables exactly.
  test.each([1, 2, 3, 2046, 2047, 2048, 4095])("%d granules are as many allocations", (count) => {
    createPool(count * 512);
    const pointers = Array.from({ length: count }, () => CudaMemoryManager.alloc(1, gpu));
    expect(new Set(pointers).size).toBe(count);
    expectMemoryError("OUT_OF_MEMORY", () => CudaMemoryManager.alloc(1, gpu));
    for (const pointer of pointers) CudaMemoryManager.free(pointer, gpu);
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({
      usedByteSize: 0,
      largestFreeByteSize: count * 512,
    });
  });

  test("freed memory can be allocated again", () => {
    createPool(1024);
    const first = CudaMemoryManager.alloc(600, gpu);
    expectMemoryError("OUT_OF_MEMORY", () => CudaMemoryManager.alloc(512, gpu));
    CudaMemoryManager.free(first, gpu);
    expect(CudaMemoryManager.alloc(512, gpu) % 512).toBe(0);
  });

  test("a full pool says what it has left", () => {
    createPool(4096);
    const pointers = Array.from({ length: 8 }, () => CudaMemoryManager.alloc(512, gpu));
    CudaMemoryManager.free(pointers[1]!, gpu);
    CudaMemoryManager.free(pointers[4]!, gpu);
    CudaMemoryManager.free(pointers[5]!, gpu);
    const message = expectMemoryError("OUT_OF_MEMORY", () => CudaMemoryManager.alloc(1025, gpu));
    expect(message).toContain("1025 bytes");
    expect(message).toContain(`GPU ${gpu}`);
    expect(message).toContain("1536 of 4096 bytes free");
    expect(message).toContain("largest free block 1024 bytes");
  });

  test("every wrong free is refused and frees nothing", () => {
    createPool(8192);
    const first = CudaMemoryManager.alloc(1024, gpu);
    const second = CudaMemoryManager.alloc(1024, gpu);
    CudaMemoryManager.free(first, gpu);
    const wrong = {
      "freed already": first,
      "inside a block": pointerPlus(second, 512),
      "between granules": pointerPlus(second, 1),
      "below the pool": pointerPlus(second, -(2 ** 40)),
      "above the pool": pointerPlus(second, 2 ** 40),
      "never allocated": pointerPlus(second, 2048),
    };
    for (const pointer of Object.values(wrong)) {
      const message = expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(pointer, gpu));
      expect(message).toContain(`0x${pointer.toString(16)}`);
      expect(CudaMemoryManager.stats(gpu)).toMatchObject({
        allocationCount: 1,
        usedByteSize: 1024,
      });
    }
    CudaMemoryManager.free(second, gpu);
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
  });

  test("bad arguments are refused and change nothing", () => {
    createPool(8192);
    const pointer = CudaMemoryManager.alloc(512, gpu);
    const before = CudaMemoryManager.stats(gpu);
    for (const value of notWholeNumbers) {
      const bad = untyped<never>(value);
      expectMemoryError("INVALID_ARG", () => CudaMemoryManager.alloc(bad, gpu));
      expectMemoryError("INVALID_ARG", () => CudaMemoryManager.alloc(512, bad));
      expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(bad, gpu));
      expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(pointer, bad));
      expectMemoryError("INVALID_ARG", () => CudaMemoryManager.stats(bad));
    }
    expectMemoryError("INVALID_ARG", () => CudaMemoryManager.alloc(0, gpu));
    expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(untyped(0), gpu));
    expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(untyped(0), 77));
    expect(CudaMemoryManager.stats(gpu)).toEqual(before);
  });

  test("a device id that no machine has is unavailable, not another device", () => {
    createPool(8192);
    for (const deviceId of [77, 128, 2 ** 31, 2 ** 32 + gpu, Number.MAX_SAFE_INTEGER]) {
      expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(512, deviceId));
      expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.free(untyped(512), deviceId));
    }
  });

  test("10,000 blocks of many sizes never overlap, and leave nothing behind", () => {
    createPool(64 * 1024 ** 2);
    const live = new Map<number, number>();
    let state = 12345;
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    for (let step = 0; step < 20_000; step++) {
      if (live.size > 0 && random(100) < 48) {
        const pointers = [...live.keys()];
        const pointer = pointers[random(Math.min(pointers.length, 50))]!;
        CudaMemoryManager.free(untyped(pointer), gpu);
        live.delete(pointer);
      } else {
        const byteSize = 1 + random(2 ** (4 + random(11)));
        live.set(CudaMemoryManager.alloc(byteSize, gpu), Math.ceil(byteSize / 512) * 512);
      }
    }
    const blocks = [...live].sort(([a], [b]) => a - b);
    for (const [index, [pointer, byteSize]] of blocks.slice(0, -1).entries()) {
      expect(pointer + byteSize).toBeLessThanOrEqual(blocks[index + 1]![0]);
    }
    const used = blocks.reduce((sum, [, byteSize]) => sum + byteSize, 0);
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({
      usedByteSize: used,
      allocationCount: blocks.length,
    });
    for (const [pointer] of blocks) CudaMemoryManager.free(untyped(pointer), gpu);
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({
      usedByteSize: 0,
      allocationCount: 0,
      largestFreeByteSize: 64 * 1024 ** 2,
    });
  });
});

describe("stats", () => {
  test("are exact after every step", () => {
    createPool(4096);
    const empty = {
      capacityByteSize: 4096,
      usedByteSize: 0,
      peakUsedByteSize: 0,
      freeByteSize: 4096,
      largestFreeByteSize: 4096,
      allocationCount: 0,
      failedAllocationCount: 0,
      setAsideByteSize: 0,
      detachedByteSize: 0,
      waitingCount: 0,
    };
    expect(CudaMemoryManager.stats(gpu)).toEqual(empty);
    const pointer = CudaMemoryManager.alloc(513, gpu);
    expect(CudaMemoryManager.stats(gpu)).toEqual({
      ...empty,
      usedByteSize: 1024,
      peakUsedByteSize: 1024,
      freeByteSize: 3072,
      largestFreeByteSize: 3072,
      allocationCount: 1,
    });
    expectMemoryError("OUT_OF_MEMORY", () => CudaMemoryManager.alloc(4096, gpu));
    CudaMemoryManager.free(pointer, gpu);
    expect(CudaMemoryManager.stats(gpu)).toEqual({
      ...empty,
      peakUsedByteSize: 1024,
      failedAllocationCount: 1,
    });
  });

  test("begin anew with every pool", () => {
    createPool(4096);
    CudaMemoryManager.alloc(512, gpu);
    CudaMemoryManager.reset();
    createPool(4096);
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({ usedByteSize: 0, peakUsedByteSize: 0 });
  });
});

describe("reset", () => {
  test("gives the memory back and may be followed by create, again and again", () => {
    for (let i = 1; i <= 20; i++) {
      createPool(512 * i);
      expect(CudaMemoryManager.stats(gpu).capacityByteSize).toBe(512 * i);
      CudaMemoryManager.alloc(512, gpu);
      CudaMemoryManager.reset();
      expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(512, gpu));
    }
  });

  test("without a manager it does nothing", () => {
    CudaMemoryManager.reset();
    CudaMemoryManager.reset();
    expect(logged).toEqual({ info: [], warn: [], error: [] });
  });

  test("a pointer of an earlier pool is not an allocation of a later one", () => {
    createPool(4096);
    const stale = CudaMemoryManager.alloc(512, gpu);
    CudaMemoryManager.reset();
    createPool(4096);
    expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(stale, gpu));
  });
});

describe.skipIf(gpus.length < 2)("two GPUs (skipped where there is only one)", () => {
  test("each has a pool of its own size", () => {
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 32, [otherGpu]: 1024 } });
    expect(CudaMemoryManager.stats(gpu).capacityByteSize).toBe(512);
    expectMemoryError("OUT_OF_MEMORY", () => CudaMemoryManager.alloc(1024, gpu));
    const pointer = CudaMemoryManager.alloc(1024, otherGpu);
    expect(pointerAttributes(pointer)).toEqual({ type: "device", device: otherGpu });
    expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(pointer, gpu));
    CudaMemoryManager.free(pointer, otherGpu);
  });

  test("a GPU below the one that has a pool has none itself", () => {
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 0, [otherGpu]: 1024 } });
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(1, gpu));
    CudaMemoryManager.alloc(1, otherGpu);
  });

  test("where the second reservation fails, the first does not stay", () => {
    expectMemoryError("INTERNAL", () =>
      CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 1024, [otherGpu]: 2 ** 41 } }),
    );
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(1, gpu));
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 1024, [otherGpu]: 1024 } });
    CudaMemoryManager.alloc(1024, gpu);
    CudaMemoryManager.alloc(1024, otherGpu);
  });
});
