import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  createMemoryManagers,
  CudaMemoryManager,
  type MemoryType,
  PinnedMemoryManager,
  pointerAttributes,
} from "../../src/index.ts";
import {
  expectMemoryError,
  gpus,
  logged,
  notWholeNumbers,
  patternBytes,
  resetAfterEach,
  untyped,
} from "../support/memory.ts";

resetAfterEach();

const [gpu = 0, otherGpu = 1] = gpus;

function createManagers(cudaByteSize = 1024, pinnedByteSize = 1024): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: cudaByteSize } });
}

/** What a memory says of itself. */
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
    // The collector is conservative: what the stack still seems to hold may stay.
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
      if (i % 100 === 0) await Promise.resolve(); // what lives now is registered with the collector
      expect(late.totalByteSize).toBe(512);
    }
    for (let i = 0; i < 3; i++) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
    // What the test before has dropped may be noticed only now.
    expect(logged.warn.filter((warning) => warning.includes("512 bytes"))).toEqual([]);
    expect(CudaMemoryManager.stats(gpu).allocationCount).toBe(0);
  });
});

describe("bytes", () => {
  const byteSize = 70_000;
  const kinds = { GPU: [100_000, 0], CPU_PINNED: [0, 1024 ** 2], CPU: [0, 0] } as const;

  for (const [kind, [cudaByteSize, pinnedByteSize]] of Object.entries(kinds)) {
    test(`${kind}: what was written is read back exactly`, () => {
      createManagers(cudaByteSize, pinnedByteSize);
      using memory = new AllocatedMemory(byteSize, "GPU", gpu);
      expect(memory.memoryType).toBe(kind as MemoryType);
      const written = patternBytes(byteSize);
      memory.write(written);
      const back = new Uint8Array(byteSize);
      memory.read(back);
      expect(Bun.hash(back)).toBe(Bun.hash(written));

      memory.write(Float64Array.of(1.5, -2), 8);
      const two = new Float64Array(2);
      memory.read(two, 8);
      expect([...two]).toEqual([1.5, -2]);
      memory.write(written.buffer.slice(0, 3), byteSize - 3);
      const last = new DataView(new ArrayBuffer(5), 1, 3);
      memory.read(last, byteSize - 3);
      expect([0, 1, 2].map((i) => last.getUint8(i))).toEqual([...written.subarray(0, 3)]);
    });

    test(`${kind}: out of range moves no byte`, () => {
      createManagers(cudaByteSize, pinnedByteSize);
      using memory = new AllocatedMemory(byteSize, "GPU", gpu);
      memory.write(new Uint8Array(byteSize).fill(7));
      for (const offset of [byteSize - 9, byteSize, byteSize + 1, Number.MAX_SAFE_INTEGER]) {
        expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(10), offset));
        expectMemoryError("INVALID_ARG", () => memory.read(new Uint8Array(10), offset));
      }
      for (const value of notWholeNumbers.filter((value) => value !== undefined)) {
        expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(1), untyped(value)));
        expectMemoryError("INVALID_ARG", () => memory.read(new Uint8Array(1), untyped(value)));
      }
      for (const value of [null, undefined, "bytes", 5, [1]]) {
        expectMemoryError("INVALID_ARG", () => memory.write(untyped(value)));
        expectMemoryError("INVALID_ARG", () => memory.read(untyped(value)));
      }
      const back = new Uint8Array(byteSize);
      memory.read(back);
      expect(back.every((byte) => byte === 7)).toBe(true);
    });
  }

  test("nothing can be written to freed or empty memory, but no bytes can", () => {
    createManagers();
    const memory = new AllocatedMemory(512, "GPU", gpu);
    memory.free();
    expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(1)));
    memory.write(new Uint8Array(0));
    memory.read(new Uint8Array(0));
  });

  test("copies between memories of all kinds", () => {
    createManagers(256 * 1024, 70_144);
    const memories = Array.from({ length: 5 }, () => new AllocatedMemory(byteSize, "GPU", gpu));
    expect(memories.map((memory) => memory.memoryType)).toEqual([
      "GPU",
      "GPU",
      "GPU",
      "CPU_PINNED",
      "CPU",
    ]);
    for (const [index, source] of memories.entries()) {
      for (const target of memories.filter((memory) => memory !== source)) {
        const written = patternBytes(byteSize, index + 1);
        source.write(written);
        expect(copyBuffer(target, source)).toBe(false);
        const back = new Uint8Array(byteSize);
        target.read(back);
        expect(Bun.hash(back)).toBe(Bun.hash(written));
      }
    }
    for (const memory of memories) memory.free();
  });

  test("copies a part, and refuses what is out of range", () => {
    createManagers(4096);
    using source = new AllocatedMemory(1000, "GPU", gpu);
    using target = new AllocatedMemory(500, "GPU", gpu);
    source.write(Uint8Array.from({ length: 1000 }, (_, i) => i % 251));
    target.write(new Uint8Array(500));
    copyBuffer(target, source, { targetOffset: 100, sourceOffset: 300, byteSize: 50 });
    const back = new Uint8Array(500);
    target.read(back);
    expect(back[99]).toBe(0);
    expect(back[100]).toBe(300 % 251);
    expect(back[149]).toBe(349 % 251);
    expect(back[150]).toBe(0);
    for (const options of [
      {},
      { byteSize: 501 },
      { targetOffset: 1, byteSize: 500 },
      { sourceOffset: 1001 },
      { sourceOffset: 600, byteSize: 401 },
      { byteSize: -1 },
      { targetOffset: NaN, byteSize: 1 },
      { sourceOffset: "1", byteSize: 1 },
      5,
    ]) {
      expectMemoryError("INVALID_ARG", () => copyBuffer(target, source, untyped(options)));
    }
    const noMemories = [{}, null, Object.create(AllocatedMemory.prototype)];
    for (const noMemory of noMemories.map(untyped<AllocatedMemory>)) {
      expectMemoryError("INVALID_ARG", () => copyBuffer(target, noMemory));
      expectMemoryError("INVALID_ARG", () => copyBuffer(noMemory, source));
    }
  });

  test("copies within a memory, but not between ranges that overlap", () => {
    createManagers(4096);
    using memory = new AllocatedMemory(1000, "GPU", gpu);
    memory.write(Uint8Array.from({ length: 1000 }, (_, i) => i % 251));
    copyBuffer(memory, memory, { targetOffset: 500, sourceOffset: 0, byteSize: 500 });
    const back = new Uint8Array(1000);
    memory.read(back);
    expect(back.subarray(500)).toEqual(back.slice(0, 500));
    for (const targetOffset of [0, 1, 499]) {
      const options = { targetOffset, sourceOffset: 0, byteSize: 500 };
      expectMemoryError("INVALID_ARG", () => copyBuffer(memory, memory, options));
    }
  });

  test("a subclass that overrides the properties cannot get bytes that are not the memory's", () => {
    createManagers(4096);
    class Boastful extends AllocatedMemory {
      override get totalByteSize(): number {
        return 2 ** 30;
      }
    }
    using memory = new Boastful(64, "CPU");
    using other = new AllocatedMemory(64, "GPU", gpu);
    expectMemoryError("INVALID_ARG", () => memory.read(new Uint8Array(65)));
    expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(65)));
    expectMemoryError("INVALID_ARG", () => copyBuffer(other, memory, { byteSize: 65 }));
    expectMemoryError("INVALID_ARG", () => copyBuffer(memory, other, { targetOffset: 1 }));
    memory.free();
    expectMemoryError("INVALID_ARG", () => memory.read(new Uint8Array(1)));
  });

  test("a detached buffer, and values that run code of their own, are refused", () => {
    createManagers(4096);
    using memory = new AllocatedMemory(64, "GPU", gpu);
    const view = new Uint8Array(8);
    structuredClone(view.buffer, { transfer: [view.buffer] });
    expectMemoryError("INVALID_ARG", () => memory.write(view));
    expectMemoryError("INVALID_ARG", () => memory.read(view));
    const hostile = {
      toString: () => expect.unreachable(),
      valueOf: () => expect.unreachable(),
      get [Symbol.toStringTag]() {
        return expect.unreachable();
      },
    };
    for (const value of [hostile, Object.create(null), Symbol("x"), () => 1]) {
      expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(1), untyped(value)));
      expectMemoryError("INVALID_ARG", () => memory.write(untyped(value)));
      expectMemoryError("INVALID_ARG", () => new AllocatedMemory(untyped(value), "GPU"));
      expectMemoryError("INVALID_ARG", () => new AllocatedMemory(1, untyped(value)));
    }
    const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(3);
    memory.write(shared);
    memory.read(new Uint8Array(shared.buffer));
    expect([...shared]).toEqual([3, 3, 3, 3]);
  });

  test.skipIf(gpus.length < 2)("copies between two GPUs (skipped where there is one)", () => {
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 8192, [otherGpu]: 8192 } });
    using source = new AllocatedMemory(8192, "GPU", gpu);
    using target = new AllocatedMemory(8192, "GPU", otherGpu);
    const written = patternBytes(8192);
    source.write(written);
    copyBuffer(target, source);
    const back = new Uint8Array(8192);
    target.read(back);
    expect(back).toEqual(written);
  });
});

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
    createManagers(2048);
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
