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

  test("keeps a pool as it is until it has done with what was freed", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(kibibyte, "GPU");
    slowly(longMilliseconds);
    copyBuffer(memory, source, { stream });
    memory.free(stream);
    expect(() => CudaMemoryManager.resize(0, 0)).toThrow("memory of it is in use");
    expect(CudaMemoryManager.stats(0).capacityByteSize).toBe(64 * kibibyte);
    await stream.finished();
    CudaMemoryManager.resize(0, 128 * kibibyte);
    expect(CudaMemoryManager.stats(0).capacityByteSize).toBe(128 * kibibyte);
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
    // The wait asks all the time for two milliseconds, and then less and less often, but often
    // enough to end soon after the GPU is done.
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

  test("holds up no transfer of another GPU, and none of host memory", async () => {
    createManagers(64 * kibibyte);
    using slow = new AllocatedMemory(kibibyte, "GPU", 0);
    using quick = new AllocatedMemory(kibibyte, "GPU", 1);
    using onHost = new AllocatedMemory(kibibyte, "CPU_PINNED");
    slowly(longMilliseconds);
    let overCount = 0;
    const transfers = Array.from({ length: 6 }, () =>
      slow.writeAsync(new Uint8Array(kibibyte)).then(() => overCount++),
    );
    slowly(0);
    await quick.writeAsync(new Uint8Array(kibibyte));
    await quick.readAsync(new Uint8Array(kibibyte));
    await onHost.writeAsync(new Uint8Array(kibibyte));
    expect(overCount).toBe(0);
    await Promise.all(transfers);
  });

  test("takes staging memory only for the transfers whose turn it is", async () => {
    createManagers(64 * kibibyte);
    using memory = new AllocatedMemory(kibibyte, "GPU", 0);
    slowly(50);
    const transfers = Array.from({ length: 40 }, () => memory.writeAsync(new Uint8Array(1024)));
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(4 * kibibyte);
    slowly(0);
    await Promise.all(transfers);
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
  });
});
