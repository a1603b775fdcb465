import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  type MemoryType,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError, expectSame } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf } from "./memories.ts";

resetAfterEach();

const [gpu = 0, otherGpu = 1] = gpus;

describe("copyBuffer", () => {
  const byteSize = 70_000;

  test("copies between memories of all kinds", () => {
    createManagers({ cudaByteSize: 256 * 1024, pinnedByteSize: 70_144 });
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
    createManagers({ cudaByteSize: 4096 });
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
    createManagers({ cudaByteSize: 4096 });
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

  test("refuses offsets and sizes that are not whole numbers, and copies nothing", () => {
    createManagers();
    using source = memoryOf("CPU_PINNED", 64);
    using target = memoryOf("CPU_PINNED", 64);
    source.fill(1);
    target.fill(2);
    for (const name of ["targetOffset", "sourceOffset", "byteSize"]) {
      for (const value of notWholeNumbers.filter((value) => value !== undefined)) {
        expectMemoryError("INVALID_ARG", () =>
          copyBuffer(target, source, untyped({ [name]: value })),
        );
      }
    }
    expect(target.bytes.every((byte) => byte === 2)).toBeTrue();
  });

  test("sees a memory that reading its options has freed", () => {
    createManagers();
    using source = memoryOf("CPU_PINNED", 64);
    const target = memoryOf("CPU_PINNED", 64);
    const options = {
      get targetOffset() {
        target.free();
        return 0;
      },
    };
    expectMemoryError("UNAVAILABLE", () => copyBuffer(target, source, options));
  });
});

describe("copyBuffer on a stream", () => {
  const types = ["GPU", "CPU_PINNED", "CPU"] as const;

  test.each(types.flatMap((to) => types.map((from) => [from, to] as const)))(
    "copies from %s to %s",
    async (from, to) => {
      PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 2048 });
      CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 64 * mebibyte } });
      using stream = new CudaStream(gpu);
      const of = (type: MemoryType) => {
        if (type !== "CPU") return memoryOf(type, 1024);
        using _half = new AllocatedMemory(1024, "CPU_PINNED");
        using _otherHalf = new AllocatedMemory(1024, "CPU_PINNED");
        return memoryOf("CPU", 1024);
      };
      using source = of(from);
      using target = of(to);
      const bytes = patternBytes(1024);
      source.write(bytes);
      const isQueued = copyBuffer(target, source, {
        sourceOffset: 24,
        targetOffset: 0,
        byteSize: 1000,
        stream,
      });
      expect(isQueued).toBe(from === "GPU" || to === "GPU");
      await stream.finished();
      expectSame(contentOf(target).subarray(0, 1000), bytes.subarray(24));
    },
  );

  test("copies in the order in which the copies are queued", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using from = memoryOf("CPU_PINNED", 8 * mebibyte);
    using first = memoryOf("GPU", 8 * mebibyte);
    using second = memoryOf("GPU", 8 * mebibyte);
    using to = memoryOf("CPU_PINNED", 8 * mebibyte);
    from.bytes.set(patternBytes(8 * mebibyte));
    for (const [target, source] of [
      [first, from],
      [second, first],
      [to, second],
    ] as const) {
      expect(copyBuffer(target, source, { stream })).toBeTrue();
    }
    await stream.finished();
    expectSame(to.bytes, from.bytes);
  });

  test("is refused for something that is not a stream", () => {
    createManagers();
    using source = memoryOf("CPU_PINNED", 64);
    using target = memoryOf("GPU", 64);
    for (const stream of [null, 0, {}, CudaStream.prototype]) {
      expectMemoryError("INVALID_ARG", () =>
        copyBuffer(target, source, { stream: untyped(stream) }),
      );
    }
  });
});
