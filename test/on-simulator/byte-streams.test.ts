// Streams of bytes into the memory of a GPU that is slow, or fails.

import { describe, expect, test } from "bun:test";
import { AllocatedMemory, CudaMemoryManager, PinnedMemoryManager } from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { expectSame, rejectionOf } from "../support/expectations.ts";
import { isSimulated } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { createManagers, kibibyte, resetSimulatorAfterEach, slowly } from "./slow-gpu.ts";

resetSimulatorAfterEach();

const memoryByteSize = 32 * 1024 * kibibyte;
const chunkByteSize = 256 * kibibyte;

/** A source that counts what was asked for; with one buffer for all of its chunks. */
function countedSource(byteSize: number) {
  const counted = { askedByteSize: 0, isCancelled: false };
  const buffer = new Uint8Array(chunkByteSize);
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (counted.askedByteSize >= byteSize) return controller.close();
        buffer.fill(counted.askedByteSize / chunkByteSize);
        counted.askedByteSize += chunkByteSize;
        controller.enqueue(buffer);
      },
      cancel: () => void (counted.isCancelled = true),
    },
    { highWaterMark: 0 },
  );
  return { counted, stream };
}

describe.skipIf(!isSimulated)("a stream of bytes to a slow GPU (on the simulator only)", () => {
  test("is asked for no more than what the GPU takes", async () => {
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: memoryByteSize });
    CudaMemoryManager.create({ memoryPoolByteSize: { 0: memoryByteSize } });
    using memory = new AllocatedMemory(memoryByteSize, "GPU");
    slowly(5);
    const { counted, stream } = countedSource(memoryByteSize);
    let aheadByteSizeMax = 0;
    await memory.writeFrom(stream, {
      onProgress(written) {
        aheadByteSizeMax = Math.max(aheadByteSizeMax, counted.askedByteSize - written);
      },
    });
    expect(aheadByteSizeMax).toBe(0);
    const content = new Uint8Array(memoryByteSize);
    memory.read(content);
    const wanted = new Uint8Array(memoryByteSize).map((_, i) => Math.floor(i / chunkByteSize));
    expectSame(content, wanted);
  });

  test("is right without pinned memory, also where the source has one buffer", async () => {
    createManagers(1024 * kibibyte);
    using _all = new AllocatedMemory(1024 * kibibyte, "CPU_PINNED");
    using memory = new AllocatedMemory(1024 * kibibyte, "GPU");
    slowly(2);
    const { stream } = countedSource(1024 * kibibyte);
    await memory.writeFrom(stream);
    const content = new Uint8Array(1024 * kibibyte);
    memory.read(content);
    const wanted = content.map((_, i) => Math.floor(i / chunkByteSize));
    expectSame(content, wanted);
  });

  test("ends when it is aborted, while its memory stays until the GPU has done with it", async () => {
    createManagers(1024 * kibibyte);
    const memory = new AllocatedMemory(1024 * kibibyte, "GPU");
    slowly(100);
    const { counted, stream } = countedSource(2048 * kibibyte);
    const controller = new AbortController();
    const writing = rejectionOf(memory.writeFrom(stream, { signal: controller.signal }));
    await Bun.sleep(5);
    const start = performance.now();
    controller.abort("enough");
    expect(await writing).toBe("enough" as never);
    expect(performance.now() - start).toBeLessThan(80);
    expect(counted.isCancelled).toBeTrue();
    memory.free();
    expect(CudaMemoryManager.stats(0).usedByteSize).toBe(1024 * kibibyte);
    for (let i = 0; i < 1000 && CudaMemoryManager.stats(0).usedByteSize > 0; i++)
      await Bun.sleep(2);
    expect(CudaMemoryManager.stats(0).usedByteSize).toBe(0);
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
  });

  test("fails as its GPU does, while its source makes it wait", async () => {
    createManagers(1024 * kibibyte);
    using memory = new AllocatedMemory(1024 * kibibyte, "GPU");
    for (const fail of [
      () => CudartSimulator.failCall({ function: "cudaMemcpyAsync", error: 999 }),
      () => CudartSimulator.failCall({ function: "cudaEventRecord", error: 999 }),
      () => CudartSimulator.failOperation({ error: 999 }),
    ]) {
      fail();
      let isCancelled = false;
      const stream = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(patternBytes(chunkByteSize)),
        cancel: () => void (isCancelled = true),
      });
      const error = await rejectionOf(memory.writeFrom(stream));
      expect(error).toMatchObject({ name: "MemoryError", code: "INTERNAL" });
      expect(error.message).toStartWith("writeFrom of ");
      expect(isCancelled).toBeTrue();
      CudartSimulator.clearFaults();
    }
    await memory.writeFrom(new Blob([patternBytes(1000)]));
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
    CudartSimulator.failCall({ function: "cudaMemcpyAsync", error: 999 });
    const reader = memory.readable().getReader();
    expect((await rejectionOf(reader.read())).code).toBe("INTERNAL");
  });
});
