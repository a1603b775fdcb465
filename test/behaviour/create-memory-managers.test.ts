import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { untyped } from "../support/values.ts";
import { createManagers } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

describe("createMemoryManagers", () => {
  test("gives every supported GPU 64 MiB, and pins 256 MiB", () => {
    {
      using _managers = createMemoryManagers();
      for (const id of gpus) expect(CudaMemoryManager.stats(id).capacityByteSize).toBe(67108864);
      expect(PinnedMemoryManager.totalByteSize).toBe(268435456);
    }
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(gpu));
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.stats());
  });

  test("takes sizes, 0 to disable, and warns of a GPU that is absent", () => {
    using _managers = createMemoryManagers({
      cudaMemoryPoolByteSize: { [gpu]: 0, 77: 1024 },
      pinnedMemoryPoolByteSize: 0,
    });
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(gpu));
    expect(PinnedMemoryManager.totalByteSize).toBe(0);
    expect(logged.warn).toHaveLength(1);
    expect(logged.warn[0]).toContain("GPU 77");
  });

  test("where a CUDA pool cannot be made, it logs an error and goes on without", () => {
    using _managers = createMemoryManagers({ cudaMemoryPoolByteSize: { [gpu]: 2 ** 41 } });
    expect(logged.error).toHaveLength(1);
    expect(logged.error[0]).toContain("cudaMalloc returned cudaErrorMemoryAllocation");
    using memory = new AllocatedMemory(4096, "GPU", gpu);
    expect(memory.memoryType).toBe("CPU_PINNED");
  });

  test("says which pools there are", () => {
    using managers = createMemoryManagers({
      cudaMemoryPoolByteSize: Object.fromEntries(gpus.map((id) => [id, 1000])),
      pinnedMemoryPoolByteSize: 5000,
    });
    expect(managers.pools).toEqual([
      ...gpus.map((id) => ({ memoryType: "GPU" as const, memoryTypeId: id, byteSize: 1024 })),
      { memoryType: "CPU_PINNED", memoryTypeId: 0, byteSize: 5120 },
    ]);
  });

  test("a GPU whose pool cannot be made costs no other GPU its pool", () => {
    using managers = createMemoryManagers({
      cudaMemoryPoolByteSize: { [gpu]: 2 ** 41 },
      pinnedMemoryPoolByteSize: 512,
    });
    const others = gpus.slice(1);
    expect(managers.pools.map(({ memoryTypeId }) => memoryTypeId)).toEqual([...others, 0]);
    for (const id of others) CudaMemoryManager.free(CudaMemoryManager.alloc(1, id), id);
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.alloc(1, gpu));
  });

  test("what is required and cannot be had is an error, and nothing stays", () => {
    for (const cudaMemoryPoolByteSize of [{ [gpu]: 2 ** 41 }, { 77: 1024 }]) {
      const message = expectMemoryError("UNAVAILABLE", () =>
        createMemoryManagers({ cudaMemoryPoolByteSize, required: true }),
      );
      expect(message).toContain(`GPU ${Object.keys(cudaMemoryPoolByteSize)[0]}`);
      expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.stats());
      expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(gpu));
    }
    using managers = createMemoryManagers({
      cudaMemoryPoolByteSize: { [gpu]: 1024 },
      pinnedMemoryPoolByteSize: 0,
      required: true,
    });
    expect(managers.pools[0]).toMatchObject({ memoryType: "GPU", byteSize: 1024 });
  });

  test("what it returns resets only what it made, and only once", () => {
    const first = createMemoryManagers({ cudaMemoryPoolByteSize: { [gpu]: 1024 } });
    {
      using _second = createMemoryManagers({ cudaMemoryPoolByteSize: { [gpu]: 4096 } });
      expect(logged.warn).toHaveLength(2);
    }
    expect(CudaMemoryManager.stats(gpu).capacityByteSize).toBe(1024);
    expect(PinnedMemoryManager.totalByteSize).toBe(268435456);
    first[Symbol.dispose]();
    expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(gpu));
    createManagers({ cudaByteSize: 2048 });
    first[Symbol.dispose]();
    expect(CudaMemoryManager.stats(gpu).capacityByteSize).toBe(2048);
  });

  test("bad options are refused before anything is made", () => {
    for (const options of [
      5,
      { cudaMemoryPoolByteSize: new Map([[0, 1024]]) },
      { cudaMemoryPoolByteSize: [1024] },
      { cudaMemoryPoolByteSize: { x: 1 } },
      { cudaMemoryPoolByteSize: { 0: -1 } },
      { cudaMemoryPoolByteSize: "0:1" },
      { pinnedMemoryPoolByteSize: 1.5 },
      { minSupportedComputeCapability: "6" },
    ]) {
      expectMemoryError("INVALID_ARG", () => createMemoryManagers(untyped(options)));
    }
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.stats());
  });
});
