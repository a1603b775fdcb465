// What takes a GPU that is slow on purpose, or that fails.

import { afterEach, describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  createMemoryManagers,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { logged, patternBytes, resetAfterEach } from "../support/memory.ts";

const isSimulated = process.env["BUN_CUDA_MEMORY_CUDART"]?.endsWith("libcudart_sim.so") ?? false;

resetAfterEach();

afterEach(() => {
  if (!isSimulated) return;
  CudartSimulator.setDelay({});
  CudartSimulator.clearFaults();
});

const kibibyte = 1024;

function createManagers(cudaByteSize: number): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 1024 * kibibyte });
  CudaMemoryManager.create({ memoryPoolByteSize: { 0: cudaByteSize, 1: cudaByteSize } });
}

/** Longer than a machine stands still, so that what comes next comes before the GPU is done. */
const longMilliseconds = 400;

/** What the GPU is given from now on takes so long. */
function slowly(milliseconds: number): void {
  CudartSimulator.setDelay({ operationNs: milliseconds * 1e6 });
}

function elapsedMilliseconds(action: () => void): number {
  const start = performance.now();
  action();
  return performance.now() - start;
}

describe.skipIf(!isSimulated)("memory that a slow GPU still uses (on the simulator only)", () => {
  test("is not counted as free before, and is without being asked for", async () => {
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

  test("is waited for, or not, as the caller chooses", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    slowly(longMilliseconds);
    copyBuffer(memory, source, { stream });
    memory.free(stream);
    using elsewhere = new AllocatedMemory(512, "GPU", 0, { whenFull: "fallBack" });
    expect(elsewhere.memoryType).toBe("CPU_PINNED");
    expect(CudaMemoryManager.stats(0).failedAllocationCount).toBe(1);
    expect(stream.isDone()).toBeFalse();
    using memoryOfGpu = new AllocatedMemory(512, "GPU", 0);
    expect(stream.isDone()).toBeTrue();
    expect(memoryOfGpu.memoryType).toBe("GPU");
    expect(CudaMemoryManager.stats(0).failedAllocationCount).toBe(1);
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

describe.skipIf(!isSimulated)("a slow GPU (on the simulator only)", () => {
  test("does not block timers", async () => {
    createManagers(64 * kibibyte);
    using memory = new AllocatedMemory(64 * kibibyte, "GPU");
    using stream = new CudaStream(0);
    slowly(longMilliseconds);
    const waits = {
      writeAsync: () => memory.writeAsync(new Uint8Array(64 * kibibyte)),
      readAsync: () => memory.readAsync(new Uint8Array(64 * kibibyte)),
      finished: () => {
        using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
        copyBuffer(memory, source, { stream });
        source.free(stream);
        return stream.finished();
      },
    };
    for (const [name, wait] of Object.entries(waits)) {
      let isOver = false;
      let tickCount = 0;
      const waited = wait().then(() => {
        isOver = true;
      });
      while (!isOver) {
        await Bun.sleep(1);
        tickCount++;
      }
      await waited;
      expect(tickCount, name).toBeGreaterThan(20);
    }
  });

  test("does not block timers where a transfer is given up", async () => {
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 16 * 1024 * kibibyte });
    CudaMemoryManager.create({ memoryPoolByteSize: { 0: 16 * 1024 * kibibyte } });
    using stream = new CudaStream(0);
    using other = new AllocatedMemory(kibibyte, "GPU");
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(12 * 1024 * kibibyte, "GPU");
    slowly(20);
    const transfer = memory.writeAsync(new Uint8Array(memory.totalByteSize), 0, { stream });
    slowly(longMilliseconds);
    copyBuffer(other, source, { stream });
    slowly(0);
    memory.free();
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    await expect(transfer).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await Bun.sleep(5);
    clearInterval(timer);
    expect(longest).toBeLessThan(longMilliseconds / 2);
    await stream.finished();
  });

  test("is waited for without processor time", async () => {
    createManagers(64 * kibibyte);
    using memory = new AllocatedMemory(64 * kibibyte, "GPU");
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    using stream = new CudaStream(0);
    slowly(1000);
    copyBuffer(memory, source, { stream });
    const queriesBefore = CudartSimulator.callCount("cudaEventQuery");
    const start = performance.now();
    await stream.finished();
    // Busy for the first milliseconds; the later looks are few, and the last not far too late.
    const lookCount = CudartSimulator.callCount("cudaEventQuery") - queriesBefore;
    expect(lookCount).toBeLessThan(20_000);
    expect(performance.now() - start).toBeLessThan(1300);
  });

  test("finishes before its pools go", () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    slowly(30);
    copyBuffer(memory, source, { stream });
    memory.free(stream);
    CudaMemoryManager.reset();
    expect(stream.isDone()).toBeTrue();
    expect(CudartSimulator.liveDeviceMemory(0).blockCount).toBe(0);
    PinnedMemoryManager.reset();
  });

  test("leaves no stream and no event behind", async () => {
    createManagers(64 * kibibyte);
    const stream = new CudaStream(0);
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    await memory.writeAsync(new Uint8Array(64 * kibibyte));
    await memory.readAsync(new Uint8Array(64 * kibibyte), 0, { stream });
    memory.free(stream);
    stream[Symbol.dispose]();
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    expect(CudartSimulator.liveHandles()).toEqual({ streamCount: 0, eventCount: 0 });
  });
});

describe.skipIf(!isSimulated)("an operation that fails late (on the simulator only)", () => {
  const failure = { error: "cudaErrorUnknown" } as const;

  function expectAllWorks(): void {
    const bytes = patternBytes(1000);
    using memory = new AllocatedMemory(1000, "GPU");
    expect(memory.memoryType).toBe("GPU");
    memory.write(bytes);
    const back = new Uint8Array(1000);
    memory.read(back);
    expect(back).toEqual(bytes);
  }

  test.each(["writeAsync", "readAsync"] as const)("is told by the promise of %s", async (way) => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    for (const options of [undefined, { stream }]) {
      using memory = new AllocatedMemory(1000, "GPU");
      CudartSimulator.failOperation(failure);
      expect(memory[way](new Uint8Array(1000), 0, options)).rejects.toMatchObject({
        code: "INTERNAL",
        message: expect.stringMatching(
          new RegExp(`^${way} of 1000 bytes .*cudaEventQuery returned cudaErrorUnknown \\(999\\)`),
        ) as unknown,
      });
      await Bun.sleep(5);
      memory.free();
      expectAllWorks();
      expect(CudaMemoryManager.stats(0).usedByteSize).toBe(0);
      expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
    }
    stream.synchronize();
  });

  test.each(["synchronize", "isDone", "finished"] as const)("is told by %s", async (way) => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    using memory = new AllocatedMemory(1000, "GPU");
    CudartSimulator.failOperation(failure);
    copyBuffer(memory, source, { stream, byteSize: 123 });
    let message = "";
    try {
      do {
        await stream[way]();
      } while (way === "isDone");
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toContain("returned cudaErrorUnknown (999)");
    expect(message).toContain("copyBuffer of 123 bytes");
    stream.synchronize();
    expectAllWorks();
  });

  test("is not lost where a transfer finds it", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    using memory = new AllocatedMemory(1000, "GPU");
    using other = new AllocatedMemory(1000, "GPU");
    CudartSimulator.failOperation(failure);
    copyBuffer(memory, source, { stream });
    const transfer = other.writeAsync(new Uint8Array(1000), 0, { stream });
    await expect(transfer).rejects.toMatchObject({ code: "INTERNAL" });
    await expect(stream.finished()).rejects.toThrow(/cudaErrorUnknown.*copyBuffer of 1000 bytes/);
    await stream.finished();
    expectAllWorks();
  });

  test("is not lost where somebody else finds it", () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    CudartSimulator.failOperation(failure);
    copyBuffer(memory, source, { stream });
    memory.free(stream);
    using next = new AllocatedMemory(64 * kibibyte, "GPU"); // waits, and finds the error
    expect(["GPU", "CPU_PINNED"]).toContain(next.memoryType);
    expect(() => stream.synchronize()).toThrow(/cudaEvent\w+ returned cudaErrorUnknown/);
    next.free();
    expect(CudaMemoryManager.stats(0).usedByteSize).toBe(0);
    expectAllWorks();
  });
});

describe.skipIf(!isSimulated)("access between GPUs (on the simulator only)", () => {
  test("is enabled for all supported pairs, once", () => {
    const before = CudartSimulator.callCount("cudaDeviceEnablePeerAccess");
    for (let i = 0; i < 2; i++) {
      using _managers = createMemoryManagers({ pinnedMemoryPoolByteSize: 0 });
      expect(logged.warn).toEqual([]);
    }
    expect(CudartSimulator.callCount("cudaDeviceEnablePeerAccess") - before).toBe(4);
  });

  test("that cannot be had is only a warning", () => {
    CudartSimulator.failCall({ function: "cudaDeviceEnablePeerAccess", nth: 1, error: 999 });
    using _managers = createMemoryManagers({ pinnedMemoryPoolByteSize: 0 });
    expect(logged.warn).toHaveLength(1);
    expect(logged.warn[0]).toMatch(/let GPU 0 access the memory of GPU 1.*returned/);
    expect(CudaMemoryManager.stats(1).capacityByteSize).toBe(67108864);
  });
});
