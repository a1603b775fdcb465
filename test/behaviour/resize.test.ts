import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  CudaStream,
  getDeviceMemory,
  getSupportedGpus,
  MemoryAccount,
} from "../../src/index.ts";
import { expectMemoryError, expectSame, rejectionOf } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf } from "./memories.ts";

resetAfterEach();

const [gpu = 0, otherGpu] = gpus;

const capacity = (id = gpu) => CudaMemoryManager.stats(id).capacityByteSize;

/** What keeps a pool as it is says so, and goes on as before. */
function expectInUse(byteSizes: readonly number[] = [0, mebibyte, 64 * mebibyte]): void {
  const before = CudaMemoryManager.stats(gpu);
  for (const byteSize of byteSizes) {
    const message = expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.resize(gpu, byteSize));
    expect(message).toContain(`the CUDA memory pool of GPU ${gpu}: memory of it is in use`);
    expect(message).toContain(`${before.usedByteSize} of ${before.capacityByteSize} bytes`);
  }
  expect(CudaMemoryManager.stats(gpu)).toEqual(before);
}

describe("resize", () => {
  test("gives a GPU a larger pool, a smaller one, none, and one again", () => {
    createManagers({ cudaByteSize: mebibyte });
    for (const byteSize of [64 * mebibyte, 5000, 0, 0, 2 * mebibyte, 2 * mebibyte]) {
      CudaMemoryManager.resize(gpu, byteSize);
      if (byteSize === 0) {
        expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(gpu));
        using fallenBack = new AllocatedMemory(512, "GPU", gpu);
        expect(fallenBack.memoryType).toBe("CPU_PINNED");
        continue;
      }
      const roundedByteSize = Math.ceil(byteSize / 512) * 512;
      expect(CudaMemoryManager.stats(gpu)).toMatchObject({
        capacityByteSize: roundedByteSize,
        usedByteSize: 0,
        largestFreeByteSize: roundedByteSize,
      });
      using memory = memoryOf("GPU", roundedByteSize);
      const bytes = patternBytes(roundedByteSize, byteSize);
      memory.write(bytes);
      expectSame(contentOf(memory), bytes);
    }
  });

  test("gives its GPU the memory back", () => {
    createManagers({ cudaByteSize: 64 * mebibyte });
    const { freeByteSize } = getDeviceMemory(gpu);
    CudaMemoryManager.resize(gpu, 0);
    expect(getDeviceMemory(gpu).freeByteSize - freeByteSize).toBeGreaterThanOrEqual(64 * mebibyte);
  });

  test("makes a first pool where pools are disabled", () => {
    CudaMemoryManager.create();
    CudaMemoryManager.resize(gpu, mebibyte);
    CudaMemoryManager.free(CudaMemoryManager.alloc(mebibyte, gpu), gpu);
    CudaMemoryManager.reset();
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(gpu));
  });

  test.skipIf(otherGpu === undefined)("leaves other GPUs' memory where it is", () => {
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: mebibyte, [otherGpu!]: mebibyte } });
    using memory = new AllocatedMemory(mebibyte, "GPU", otherGpu);
    const bytes = patternBytes(mebibyte);
    memory.write(bytes);
    for (const byteSize of [2 * mebibyte, 0, mebibyte]) CudaMemoryManager.resize(gpu, byteSize);
    expectSame(contentOf(memory), bytes);
    expect(capacity(otherGpu)).toBe(mebibyte);
  });

  test("memory that is in use keeps the pool as it is, whatever uses it", async () => {
    createManagers({ cudaByteSize: mebibyte });
    const pointer = CudaMemoryManager.alloc(1, gpu);
    expectInUse();
    CudaMemoryManager.free(pointer, gpu);

    const memory = memoryOf("GPU", 4096);
    memory.fill(7);
    expectInUse();
    expect(contentOf(memory).every((byte) => byte === 7)).toBe(true);

    const { promise, resolve } = Promise.withResolvers<void>();
    const held = memory.holdUntil(promise);
    memory.free();
    expectInUse();
    resolve();
    await held;

    const handle = memoryOf("GPU", 4096).detach();
    expectInUse();
    AllocatedMemory.attach(handle).free();

    CudaMemoryManager.resize(gpu, 2 * mebibyte);
    expect(capacity()).toBe(2 * mebibyte);
  });

  test("what a stream has done with is no longer in use", () => {
    createManagers({ cudaByteSize: mebibyte });
    using stream = new CudaStream(gpu);
    memoryOf("GPU", mebibyte).free(stream);
    stream.synchronize();
    CudaMemoryManager.resize(gpu, 2 * mebibyte);
    expect(capacity()).toBe(2 * mebibyte);
  });

  test("a pool of before a reset that is set aside is no part of it", async () => {
    createManagers({ cudaByteSize: mebibyte });
    const { promise, resolve } = Promise.withResolvers<void>();
    const held = memoryOf("GPU", 512).holdUntil(promise);
    CudaMemoryManager.reset();
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 4096 } });
    CudaMemoryManager.resize(gpu, 2 * mebibyte);
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({
      capacityByteSize: 2 * mebibyte,
      setAsideByteSize: mebibyte,
    });
    resolve();
    await held;
    expect(CudaMemoryManager.stats(gpu).setAsideByteSize).toBe(0);
  });

  test("tells who waits for a pool that is gone, or too small now", async () => {
    createManagers({ cudaByteSize: mebibyte });
    const account = MemoryAccount.of("resize");
    account.limitByteSize = mebibyte;
    const all = new AllocatedMemory(mebibyte, "CPU_PINNED", 0, { account });
    for (const [byteSize, code] of [
      [4096, "OUT_OF_MEMORY"],
      [0, "UNAVAILABLE"],
    ] as const) {
      const waiting = AllocatedMemory.allocate(mebibyte, "GPU", gpu, { account });
      CudaMemoryManager.resize(gpu, byteSize);
      expect(await rejectionOf(waiting)).toMatchObject({ code });
      CudaMemoryManager.resize(gpu, mebibyte);
    }
    const waiting = AllocatedMemory.allocate(mebibyte, "GPU", gpu, { account });
    CudaMemoryManager.resize(gpu, 2 * mebibyte);
    all.free();
    using served = await waiting;
    expect(served.memoryType).toBe("GPU");
    account.limitByteSize = Infinity;
  });

  test("what the GPU has no room for is an error, and the pool stays", () => {
    createManagers({ cudaByteSize: mebibyte });
    const message = expectMemoryError("INTERNAL", () => CudaMemoryManager.resize(gpu, 2 ** 45));
    expect(message).toContain("cudaMalloc returned cudaErrorMemoryAllocation (2)");
    expect(message).toContain(`${2 ** 45} bytes`);
    expect(message).toContain(`GPU ${gpu} has ${getDeviceMemory(gpu).freeByteSize} bytes free`);
    expect(capacity()).toBe(mebibyte);
    memoryOf("GPU", mebibyte).free();
  });

  test("a pool is replaced where there is no room for both", () => {
    const { freeByteSize } = getDeviceMemory(gpu);
    const [small, large] = [0.6, 0.8].map((share) => Math.floor(freeByteSize * share));
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: small! } });
    CudaMemoryManager.resize(gpu, large!);
    expect(capacity()).toBe(Math.ceil(large! / 512) * 512);
    CudaMemoryManager.resize(gpu, small!);
    expect(capacity()).toBe(Math.ceil(small! / 512) * 512);
  });

  test("is refused where there is no manager, or no such GPU", () => {
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.resize(gpu, mebibyte));
    CudaMemoryManager.create();
    for (const id of [77, 127, 128, 2 ** 40]) {
      const message = expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.resize(id, 512));
      expect(message).toContain(`GPU ${id}`);
    }
    for (const id of getSupportedGpus(0).filter((each) => !gpus.includes(each))) {
      const message = expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.resize(id, 512));
      expect(message).toContain("compute capability");
    }
  });

  test("takes the GPUs that the manager takes", () => {
    CudaMemoryManager.create({ minSupportedComputeCapability: 99 });
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.resize(gpu, 512));
    CudaMemoryManager.reset();
    CudaMemoryManager.create({ minSupportedComputeCapability: 0 });
    for (const id of getSupportedGpus(0)) CudaMemoryManager.resize(id, 512);
    for (const id of getSupportedGpus(0)) expect(capacity(id)).toBe(512);
  });

  test("what is no GPU and no size is refused before anything is touched", () => {
    createManagers({ cudaByteSize: mebibyte });
    for (const value of [...notWholeNumbers, -0]) {
      expectMemoryError("INVALID_ARG", () => CudaMemoryManager.resize(untyped(value), 512));
    }
    for (const value of [...notWholeNumbers, "80%"]) {
      expectMemoryError("INVALID_ARG", () => CudaMemoryManager.resize(gpu, untyped(value)));
    }
    expect(capacity()).toBe(mebibyte);
  });

  test("is in the pools that createMemoryManagers returns", () => {
    const managers = createMemoryManagers({
      cudaMemoryPoolByteSize: Object.fromEntries(gpus.map((id) => [id, 1024])),
      pinnedMemoryPoolByteSize: 0,
    });
    CudaMemoryManager.resize(gpu, mebibyte);
    const pools = () =>
      managers.pools.map(({ memoryTypeId, byteSize }) => [memoryTypeId, byteSize]);
    const others = gpus.slice(1).map((id) => [id, 1024]);
    expect(pools()).toEqual([[gpu, mebibyte], ...others]);
    CudaMemoryManager.resize(gpu, 0);
    expect(pools()).toEqual(others);
    managers[Symbol.dispose]();
    expect(managers.pools).toEqual([]);
    expect([...logged.warn, ...logged.error]).toEqual([]);
  });
});
