import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  type MemoryType,
  PinnedMemoryManager,
  pointerAttributes,
} from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, untyped } from "../support/values.ts";

resetAfterEach();

const [gpu = 0] = gpus;

function createManagers(cudaByteSize = 1024, pinnedByteSize = 1024): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: cudaByteSize } });
}

/** The properties of a memory. */
function shapeOf(memory: AllocatedMemory) {
  const { totalByteSize, bufferCount, memoryType, memoryTypeId } = memory;
  return { totalByteSize, bufferCount, memoryType, memoryTypeId };
}

describe("allocation", () => {
  test("GPU memory comes from the GPU's pool", () => {
    createManagers();
    using memory = new AllocatedMemory(500, "GPU", gpu);
    expect(shapeOf(memory)).toEqual({
      totalByteSize: 500,
      bufferCount: 1,
      memoryType: "GPU",
      memoryTypeId: gpu,
    });
    expect(memory.bufferAt(0)).toEqual({
      pointer: memory.pointer!,
      byteSize: 500,
      memoryType: "GPU",
      memoryTypeId: gpu,
    });
    expect(memory.bufferAt(1)).toBeNull();
    expect(pointerAttributes(memory.pointer!)).toEqual({ type: "device", device: gpu });
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(512);
  });

  test.each(["CPU", "CPU_PINNED"] as const)("%s memory begins at the pinned pool", (type) => {
    createManagers();
    using memory = new AllocatedMemory(512, type, 3);
    expect(shapeOf(memory)).toMatchObject({ memoryType: "CPU_PINNED", memoryTypeId: 0 });
    expect(pointerAttributes(memory.pointer!).type).toBe("host");
  });

  test("CUDA, then pinned, then non-pinned", () => {
    createManagers();
    using cuda = new AllocatedMemory(600, "GPU", gpu);
    using pinned = new AllocatedMemory(600, "GPU", gpu);
    using system = new AllocatedMemory(600, "GPU", gpu);
    expect([cuda, pinned, system].map((memory) => memory.memoryType)).toEqual([
      "GPU",
      "CPU_PINNED",
      "CPU",
    ]);
    expect(pinned.memoryTypeId).toBe(0);
    expect(system.memoryTypeId).toBe(0);
    expect(pointerAttributes(pinned.pointer!).type).toBe("host");
    expect(pointerAttributes(system.pointer!).type).toBe("unregistered");
    expect([cuda, pinned, system].map((memory) => memory.totalByteSize)).toEqual([600, 600, 600]);
  });

  test("without a CUDA memory manager it falls back to pinned memory", () => {
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 1024 });
    using memory = new AllocatedMemory(600, "GPU", gpu);
    expect(memory.memoryType).toBe("CPU_PINNED");
  });

  test("without any manager it falls back to non-pinned memory", () => {
    using memory = new AllocatedMemory(600, "GPU", gpu);
    expect(shapeOf(memory)).toEqual({
      totalByteSize: 600,
      bufferCount: 1,
      memoryType: "CPU",
      memoryTypeId: 0,
    });
  });

  test("for a GPU that is not there it falls back", () => {
    createManagers();
    using memory = new AllocatedMemory(600, "GPU", 77);
    expect(memory.memoryType).toBe("CPU_PINNED");
  });

  test("0 bytes are an empty memory", () => {
    createManagers();
    for (const type of ["CPU", "CPU_PINNED", "GPU"] as MemoryType[]) {
      using memory = new AllocatedMemory(0, type, gpu);
      expect(shapeOf(memory)).toMatchObject({ totalByteSize: 0, bufferCount: 0 });
      expect(memory.pointer).toBeNull();
      expect(memory.bufferAt(0)).toBeNull();
    }
    expect(CudaMemoryManager.stats(gpu).allocationCount).toBe(0);
  });

  test("a request that nothing can serve is an empty memory and a logged error", () => {
    createManagers();
    using memory = new AllocatedMemory(Number.MAX_SAFE_INTEGER, "GPU", gpu);
    expect(shapeOf(memory)).toMatchObject({ totalByteSize: 0, bufferCount: 0 });
    expect(memory.pointer).toBeNull();
    expect(logged.error).toHaveLength(1);
    expect(logged.error[0]).toContain("9007199254740991 bytes");
  });

  test("bad arguments are refused and allocate nothing", () => {
    createManagers();
    for (const value of notWholeNumbers) {
      expectMemoryError("INVALID_ARG", () => new AllocatedMemory(untyped(value), "GPU", gpu));
      if (value === undefined) continue; // the default
      expectMemoryError("INVALID_ARG", () => new AllocatedMemory(1, "GPU", untyped(value)));
    }
    for (const type of ["gpu", "", undefined, null, 2, {}]) {
      expectMemoryError("INVALID_ARG", () => new AllocatedMemory(1, untyped(type)));
    }
    using memory = new AllocatedMemory(1, "GPU", gpu);
    for (const value of notWholeNumbers) {
      expectMemoryError("INVALID_ARG", () => memory.bufferAt(untyped(value)));
    }
    expect(CudaMemoryManager.stats(gpu).allocationCount).toBe(1);
  });
});

describe("release", () => {
  test("leaving the scope frees, so that the next request need not fall back", () => {
    createManagers();
    {
      using cuda = new AllocatedMemory(600, "GPU", gpu);
      using pinned = new AllocatedMemory(600, "GPU", gpu);
      expect([cuda.memoryType, pinned.memoryType]).toEqual(["GPU", "CPU_PINNED"]);
    }
    using memory = new AllocatedMemory(600, "GPU", gpu);
    expect(memory.memoryType).toBe("GPU");
    expect(PinnedMemoryManager.usedByteSize).toBe(0);
  });

  test("free and dispose are idempotent, and leave an empty memory", () => {
    createManagers();
    const memory = new AllocatedMemory(600, "GPU", gpu);
    memory.free();
    memory.free();
    memory[Symbol.dispose]();
    expect(shapeOf(memory)).toEqual({
      totalByteSize: 0,
      bufferCount: 0,
      memoryType: "GPU",
      memoryTypeId: gpu,
    });
    expect(memory.pointer).toBeNull();
    expect(CudaMemoryManager.stats(gpu).allocationCount).toBe(0);
  });

  test("memory that was freed through its pointer is an error, and is not freed twice", () => {
    createManagers();
    const memory = new AllocatedMemory(600, "GPU", gpu);
    CudaMemoryManager.free(memory.pointer!, gpu);
    expect(expectMemoryError("INVALID_ARG", () => memory.free())).toContain("behind the back");
    memory.free();
  });

  test("memory that outlives a reset frees nothing of a later pool", () => {
    for (const [byteSize, types] of [
      [600, ["GPU", "CPU_PINNED", "CPU"]],
      [1024, ["GPU", "CPU_PINNED", "CPU"]],
    ] as const) {
      createManagers();
      const stale = types.map(() => new AllocatedMemory(byteSize, "GPU", gpu));
      expect(stale.map((memory) => memory.memoryType)).toEqual([...types]);
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
      createManagers();
      const fresh = types.map(() => new AllocatedMemory(byteSize, "GPU", gpu));
      for (const memory of stale) memory.free();
      expect(CudaMemoryManager.stats(gpu).allocationCount).toBe(1);
      expect(PinnedMemoryManager.stats().allocationCount).toBe(1);
      for (const memory of fresh) memory.free();
      expect(CudaMemoryManager.stats(gpu).allocationCount).toBe(0);
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
    }
  });

  test("bytes of memory that outlives a reset cannot be touched", () => {
    createManagers();
    const memories = [0, 1, 2].map(() => new AllocatedMemory(600, "GPU", gpu));
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    for (const memory of memories) {
      expectMemoryError("UNAVAILABLE", () => memory.write(new Uint8Array(600)));
      expectMemoryError("UNAVAILABLE", () => memory.read(new Uint8Array(600)));
      const other = memories.find((each) => each !== memory)!;
      expectMemoryError("UNAVAILABLE", () => copyBuffer(memory, other));
      expectMemoryError("UNAVAILABLE", () => copyBuffer(other, memory));
    }
    for (const memory of memories) memory.free();
  });

  test("memory that is only dropped is freed, with a warning that names its bytes", async () => {
    createManagers(1024 ** 2, 1024 ** 2);
    const warnings: string[] = [];
    for (let i = 0; i < 20; i++) {
      new AllocatedMemory(1111, "GPU", gpu);
      new AllocatedMemory(2222, "CPU");
    }
    for (let i = 0; i < 100 && CudaMemoryManager.stats(gpu).allocationCount > 2; i++) {
      Bun.gc(true);
      await Bun.sleep(5);
      warnings.push(...logged.warn.splice(0));
    }
    // The collector is conservative: it keeps an object that the stack seems to refer to.
    expect(CudaMemoryManager.stats(gpu).allocationCount).toBeLessThanOrEqual(2);
    expect(PinnedMemoryManager.stats().allocationCount).toBeLessThanOrEqual(2);
    expect(warnings.filter((warning) => warning.includes("1111 bytes (GPU")).length).toBe(
      20 - CudaMemoryManager.stats(gpu).allocationCount,
    );
    expect(warnings.some((warning) => warning.includes("2222 bytes (CPU_PINNED"))).toBe(true);
  });

  test("memory that is freed as it should be is not warned about", async () => {
    createManagers(1024 ** 2);
    for (let i = 0; i < 1000; i++) {
      const early = new AllocatedMemory(512, "GPU", gpu);
      using late = new AllocatedMemory(512, "GPU", gpu);
      early.free();
      if (i % 100 === 0) await Promise.resolve(); // registers live memories with the collector
      expect(late.totalByteSize).toBe(512);
    }
    for (let i = 0; i < 3; i++) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
    // Memory that the previous test dropped may be noticed only now.
    expect(logged.warn.filter((warning) => warning.includes("512 bytes"))).toEqual([]);
    expect(CudaMemoryManager.stats(gpu).allocationCount).toBe(0);
  });
});
