import type { Pointer } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  getDeviceMemory,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { cudart } from "../../src/native/cudart.ts";
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

  test("a share is of all memory that the GPU has, in whole 512 bytes", () => {
    const { totalByteSize } = getDeviceMemory(gpu);
    for (const [share, percentage] of [
      ["10%", 10],
      ["1.25%", 1.25],
      ["0.000001%", 0.000001],
    ] as const) {
      using managers = createMemoryManagers({
        cudaMemoryPoolByteSize: { [gpu]: share },
        pinnedMemoryPoolByteSize: 0,
        required: true,
      });
      const granuleCount = Math.floor((totalByteSize * percentage) / 100 / 512);
      const byteSize = Math.max(granuleCount, 1) * 512;
      expect(managers.pools.find(({ memoryTypeId }) => memoryTypeId === gpu)?.byteSize).toBe(
        byteSize,
      );
      expect(CudaMemoryManager.stats(gpu).capacityByteSize).toBe(byteSize);
    }
  });

  test("no share is no pool", () => {
    using managers = createMemoryManagers({
      cudaMemoryPoolByteSize: { [gpu]: "0%" },
      pinnedMemoryPoolByteSize: 0,
      required: true,
    });
    expect(managers.pools).toEqual(managers.pools.filter((pool) => pool.memoryTypeId !== gpu));
    expect([...logged.warn, ...logged.error]).toEqual([]);
  });

  test("a share of which not enough is free is an error with both figures", () => {
    const pointer = new BigUint64Array(new ArrayBuffer(8));
    const { totalByteSize } = getDeviceMemory(gpu);
    const runtime = cudart()!;
    expect(runtime.cudaSetDevice(gpu)).toBe(0);
    expect(runtime.cudaMalloc(pointer, BigInt(Math.floor(totalByteSize / 2)))).toBe(0);
    try {
      const { freeByteSize } = getDeviceMemory(gpu);
      const wantedByteSize = Math.floor((totalByteSize * 80) / 100 / 512) * 512;
      const options = { cudaMemoryPoolByteSize: { [gpu]: "80%" }, pinnedMemoryPoolByteSize: 0 };
      {
        using managers = createMemoryManagers(untyped(options));
        expect(managers.pools.map(({ memoryTypeId }) => memoryTypeId)).toEqual(gpus.slice(1));
        expect(logged.error).toHaveLength(1);
      }
      const thrown = expectMemoryError("UNAVAILABLE", () =>
        createMemoryManagers(untyped({ ...options, required: true })),
      );
      for (const message of [logged.error[0]!, thrown]) {
        expect(message).toContain(`80% of the memory of GPU ${gpu}`);
        expect(message).toContain(`${wantedByteSize} of ${totalByteSize} bytes`);
        expect(message).toContain(`only ${freeByteSize} bytes are free`);
      }
      expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(gpu));
    } finally {
      expect(runtime.cudaFree(Number(pointer[0]) as Pointer)).toBe(0);
    }
  });

  test("a share is not looked at where there is a manager", () => {
    using _first = createMemoryManagers({ cudaMemoryPoolByteSize: { [gpu]: "60%" } });
    using _second = createMemoryManagers({ cudaMemoryPoolByteSize: { [gpu]: "61%" } });
    expect(logged.warn).toHaveLength(2);
    expect(logged.error).toEqual([]);
  });

  test("a share of a GPU that is absent is warned about, and with `required` an error", () => {
    const options = { cudaMemoryPoolByteSize: { 77: "80%" } } as const;
    {
      using _managers = createMemoryManagers(options);
      expect(logged.warn).toEqual([expect.stringContaining("80% of its memory on GPU 77")]);
    }
    expectMemoryError("UNAVAILABLE", () => createMemoryManagers({ ...options, required: true }));
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
      expect(logged.error).toEqual([]); // what is thrown is not logged
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
      { cudaMemoryPoolByteSize: { 0: "101%" } },
      { cudaMemoryPoolByteSize: { 0: "-1%" } },
      { cudaMemoryPoolByteSize: { 0: "80" } },
      { cudaMemoryPoolByteSize: { 0: ["80%"] } },
      { cudaMemoryPoolByteSize: "0:1" },
      { pinnedMemoryPoolByteSize: 1.5 },
      { minSupportedComputeCapability: "6" },
    ]) {
      expectMemoryError("INVALID_ARG", () => createMemoryManagers(untyped(options)));
    }
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.stats());
  });
});
