import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { isSimulated } from "../support/runtime.ts";
import {
  createManagers,
  kibibyte,
  longMilliseconds,
  resetSimulatorAfterEach,
  slowly,
} from "./slow-gpu.ts";

resetSimulatorAfterEach();

function elapsedMilliseconds(action: () => void): number {
  const start = performance.now();
  action();
  return performance.now() - start;
}

describe.skipIf(!isSimulated)("memory that a slow GPU still uses (on the simulator only)", () => {
  test("is counted as free only when the stream is done, and then without a request", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    slowly(longMilliseconds);
    copyBuffer(memory, source, { stream });
    expect(elapsedMilliseconds(() => memory.free(stream))).toBeLessThan(longMilliseconds / 2);
    expect(CudaMemoryManager.stats(0)).toMatchObject({ freeByteSize: 0, allocationCount: 1 });
    await stream.finished();
    expect(CudaMemoryManager.stats(0)).toMatchObject({ usedByteSize: 0, allocationCount: 0 });
  });

  test("is not waited for by a request, which falls back", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    slowly(longMilliseconds);
    copyBuffer(memory, source, { stream });
    memory.free(stream);
    using elsewhere = new AllocatedMemory(512, "GPU", 0);
    expect(elsewhere.memoryType).toBe("CPU_PINNED");
    expect(CudaMemoryManager.stats(0).failedAllocationCount).toBe(1);
    expect(stream.isDone()).toBeFalse();
    await stream.finished();
    using memoryOfGpu = new AllocatedMemory(512, "GPU", 0);
    expect(memoryOfGpu.memoryType).toBe("GPU");
  });

  test("is not waited for where that would not help", () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memories = Array.from({ length: 4 }, () => new AllocatedMemory(16 * kibibyte, "GPU"));
    slowly(longMilliseconds);
    for (const i of [0, 2]) {
      copyBuffer(memories[i]!, source, { stream });
      memories[i]!.free(stream);
    }
    // There will be twice 16 KiB, but not in one piece.
    using elsewhere = new AllocatedMemory(17 * kibibyte, "GPU");
    expect(elsewhere.memoryType).toBe("CPU_PINNED");
    expect(stream.isDone()).toBeFalse();
    for (const i of [1, 3]) memories[i]!.free();
    stream.synchronize();
  });

  test("is waited for no longer than it takes", () => {
    createManagers(64 * kibibyte);
    using early = new CudaStream(0);
    using late = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const [first, second] = [32, 32].map((size) => new AllocatedMemory(size * kibibyte, "GPU"));
    slowly(20);
    copyBuffer(first!, source, { stream: early });
    slowly(longMilliseconds);
    copyBuffer(second!, source, { stream: late });
    first!.free(early);
    second!.free(late);
    using memory = new AllocatedMemory(32 * kibibyte, "GPU");
    expect(memory.memoryType).toBe("GPU");
    expect(early.isDone()).toBeTrue();
    expect(late.isDone()).toBeFalse();
    late.synchronize();
  });

  test("is handed to another stream, which waits by itself", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using other = new CudaStream(0);
    using source = new AllocatedMemory(64 * kibibyte, "CPU_PINNED");
    using first = new AllocatedMemory(64 * kibibyte, "CPU_PINNED");
    source.bytes.fill(1);
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    memory.fill(9);
    slowly(longMilliseconds);
    copyBuffer(first, memory, { stream }); // reads what must not have been overwritten
    memory.free(stream);
    slowly(0);
    const start = performance.now();
    const next = new AllocatedMemory(64 * kibibyte, "GPU", 0, { stream: other });
    copyBuffer(next, source, { stream: other });
    expect(performance.now() - start).toBeLessThan(longMilliseconds / 2);
    expect(next.memoryType).toBe("GPU");
    expect(other.isDone()).toBeFalse();
    await other.finished();
    expect(stream.isDone()).toBeTrue();
    expect(first.bytes.every((byte) => byte === 9)).toBeTrue();
    next.free();
  });

  test("stays until the stream is done, also where that is disposed of during a transfer", async () => {
    createManagers(64 * kibibyte);
    const stream = new CudaStream(0);
    using target = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(kibibyte, "GPU");
    const transfer = memory.writeAsync(new Uint8Array(kibibyte));
    slowly(longMilliseconds);
    copyBuffer(target, memory, { stream });
    memory.free(stream);
    stream[Symbol.dispose]();
    await transfer.catch(() => {});
    expect(CudaMemoryManager.stats(0).usedByteSize).toBe(kibibyte);
    CudaMemoryManager.reset();
    expect(CudartSimulator.liveHandles().streamCount).toBe(0);
  });

  test("is not given back before a transfer is over that CUDA cannot follow", async () => {
    for (const pinnedByteSize of [1024 * kibibyte, 0]) {
      PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
      CudaMemoryManager.create({ memoryPoolByteSize: { 0: 64 * kibibyte } });
      for (const nth of [1, 2]) {
        const memory = new AllocatedMemory(64 * kibibyte, "GPU");
        slowly(30);
        CudartSimulator.failCall({ function: "cudaEventRecord", nth, error: 999 });
        const transfer = memory.writeAsync(new Uint8Array(64 * kibibyte).fill(9));
        await transfer.catch(() => {});
        slowly(0);
        memory.free();
        const next = new AllocatedMemory(64 * kibibyte, "GPU");
        next.fill(1);
        await Bun.sleep(50);
        const bytes = new Uint8Array(64 * kibibyte);
        next.read(bytes);
        expect(bytes.every((byte) => byte === 1)).toBeTrue();
        next.free();
        CudartSimulator.clearFaults();
      }
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
    }
  });

  test("is not garbage collected, also where its stream is dropped or disposed of", async () => {
    createManagers(64 * kibibyte);
    slowly(2 * longMilliseconds);
    const use = (isDisposedOf: boolean) => {
      const stream = new CudaStream(0);
      const source = new AllocatedMemory(kibibyte, "CPU_PINNED");
      copyBuffer(new AllocatedMemory(kibibyte, "GPU"), source, { stream });
      if (isDisposedOf) stream[Symbol.dispose]();
    };
    for (let i = 0; i < 20; i++) use(i % 2 === 0);
    const start = performance.now();
    while (performance.now() - start < longMilliseconds / 4) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
    expect(CudaMemoryManager.stats(0).allocationCount).toBe(20);
    expect(PinnedMemoryManager.stats().allocationCount).toBe(20);
    for (let i = 0; i < 1000 && CudaMemoryManager.stats(0).allocationCount > 2; i++) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
    expect(CudaMemoryManager.stats(0).allocationCount).toBeLessThanOrEqual(2);
  });

  test("is safe from a transfer that was not staged", async () => {
    CudaMemoryManager.create({ memoryPoolByteSize: { 0: 64 * kibibyte } });
    using stream = new CudaStream(0);
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    slowly(20);
    const transfer = memory.writeAsync(new Uint8Array(64 * kibibyte), 0, { stream });
    memory.free(stream);
    await transfer.catch(() => {});
    stream.synchronize();
    expect(CudaMemoryManager.stats(0).usedByteSize).toBe(0);
  });
});
