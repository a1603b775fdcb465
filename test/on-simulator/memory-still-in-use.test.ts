import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  MemoryAccount,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { isSimulated, logged } from "../support/runtime.ts";
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

  test.each(["GPU", "CPU_PINNED", "CPU"] as const)(
    "is its account's until the stream is done, %s too",
    async (type) => {
      createManagers(64 * kibibyte);
      const account = MemoryAccount.of("slow");
      using stream = new CudaStream(0);
      using onGpu = new AllocatedMemory(kibibyte, "GPU");
      using pinned = type === "CPU" ? new AllocatedMemory(1024 * kibibyte, "CPU_PINNED") : null;
      const memory = new AllocatedMemory(kibibyte, type, 0, { account });
      expect(memory.memoryType).toBe(type);
      slowly(longMilliseconds);
      copyBuffer(onGpu, onGpu, { stream, byteSize: 512, targetOffset: 512 });
      memory.free(stream);
      expect(account.stats()).toMatchObject({ usedByteSize: kibibyte, allocationCount: 1 });
      account.limitByteSize = kibibyte;
      const again = () => new AllocatedMemory(512, "CPU", 0, { account }).free();
      expect(expectMemoryError("OUT_OF_MEMORY", again)).toContain('"slow" has 1024 of the 1024');
      await stream.finished();
      again(); // finds what the stream has done with
      expect(account.stats()).toMatchObject({ usedByteSize: 0, allocationCount: 0 });
      account.limitByteSize = Infinity;
      expect(pinned?.memoryType ?? "CPU_PINNED").toBe("CPU_PINNED");
    },
  );

  test("is not waited for: a request falls back until the stream is done", () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    slowly(longMilliseconds);
    copyBuffer(memory, source, { stream });
    memory.free(stream);
    for (const options of [undefined, {}, { stream: undefined }]) {
      using elsewhere = new AllocatedMemory(512, "GPU", 0, options);
      expect(elsewhere.memoryType).toBe("CPU_PINNED");
    }
    expect(CudaMemoryManager.stats(0).failedAllocationCount).toBe(3);
    expect(stream.isDone()).toBeFalse();
    stream.synchronize();
    using memoryOfGpu = new AllocatedMemory(512, "GPU", 0);
    expect(memoryOfGpu.memoryType).toBe("GPU");
    expect(CudaMemoryManager.stats(0).failedAllocationCount).toBe(3);
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

  test("goes to a request when its own stream is done, whatever others do", () => {
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
    early.synchronize();
    using memory = new AllocatedMemory(32 * kibibyte, "GPU");
    expect(memory.memoryType).toBe("GPU");
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

  test("is not garbage collected however much is queued after it", async () => {
    createManagers(2048 * kibibyte);
    using stream = new CudaStream(0);
    using target = new AllocatedMemory(kibibyte, "GPU");
    using small = new AllocatedMemory(512, "CPU_PINNED");
    slowly(2 * longMilliseconds);
    (() =>
      copyBuffer(target, new AllocatedMemory(64 * kibibyte, "CPU_PINNED"), {
        stream,
        byteSize: kibibyte,
      }))();
    slowly(0);
    for (let i = 0; i < 3000; i++) copyBuffer(target, small, { stream });
    for (let i = 0; i < 5; i++) {
      Bun.gc(true);
      await Bun.sleep(5);
    }
    expect(stream.isDone()).toBeFalse();
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(64 * kibibyte + 512);
    stream.synchronize();
  });

  test("is garbage collected when it is not used any more, also where nobody asks the stream", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using target = new AllocatedMemory(kibibyte, "GPU");
    const queue = () => {
      for (let i = 0; i < 20; i++) {
        copyBuffer(target, new AllocatedMemory(512, "CPU_PINNED"), { stream });
      }
    };
    const countMax = 1500; // what is remembered of a stream that is idle, and the collector's leavings
    for (let i = 0; i < 300; i++) {
      queue();
      await Bun.sleep(0);
    }
    for (let i = 0; i < 100 && PinnedMemoryManager.stats().allocationCount > countMax; i++) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
    expect(PinnedMemoryManager.stats().allocationCount).toBeLessThanOrEqual(countMax);
  });

  test("is remembered in a time that grows no faster than what is queued", () => {
    createManagers(64 * kibibyte);
    using source = new AllocatedMemory(512, "CPU_PINNED");
    using target = new AllocatedMemory(512, "GPU");
    const millisecondsOf = (count: number) => {
      using stream = new CudaStream(0);
      slowly(1000);
      copyBuffer(target, source, { stream });
      slowly(0);
      const milliseconds = elapsedMilliseconds(() => {
        for (let i = 0; i < count; i++) copyBuffer(target, source, { stream });
      });
      stream.synchronize();
      return milliseconds;
    };
    millisecondsOf(2_000);
    const few = millisecondsOf(5_000);
    expect(millisecondsOf(50_000)).toBeLessThan(50 * few);
  }, 20_000);

  test("comes back where its stream could not be marked when a transfer ended", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    slowly(50);
    const transfer = memory.writeAsync(new Uint8Array(64 * kibibyte));
    memory.free(stream);
    const calls = CudartSimulator.callCount("cudaEventRecord");
    CudartSimulator.failCall({ function: "cudaEventRecord", nth: 1, error: 999 });
    await transfer;
    for (let i = 0; i < 200 && CudaMemoryManager.stats(0).usedByteSize > 0; i++) await Bun.sleep(1);
    expect(CudaMemoryManager.stats(0).usedByteSize).toBe(0);
    expect(CudartSimulator.callCount("cudaEventRecord")).toBe(calls + 2);
    expect(logged.error).toEqual([expect.stringContaining("cudaEventRecord")]);
  });

  test("stays where its stream cannot be marked when that is disposed of, and goes later", async () => {
    createManagers(64 * kibibyte);
    const stream = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    slowly(50);
    (() => copyBuffer(new AllocatedMemory(kibibyte, "GPU"), source, { stream }))();
    CudartSimulator.failCall({ function: "cudaEventRecord", nth: 1, error: 999 });
    stream[Symbol.dispose]();
    expect(logged.error).toEqual([
      expect.stringMatching(/a CudaStream of GPU 0: .*cudaEventRecord/),
    ]);
    expect(stream.isDone()).toBeFalse();
    stream[Symbol.dispose]();
    stream[Symbol.dispose]();
    expect(() => stream.isDone()).toThrow("disposed of");
    expect(logged.error).toHaveLength(1);
    Bun.gc(true);
    await Bun.sleep(5);
    expect(CudaMemoryManager.stats(0).allocationCount).toBe(1);
  });
});
