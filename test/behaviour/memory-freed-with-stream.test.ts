import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { patternBytes, untyped } from "../support/values.ts";
import { createManagers, mebibyte } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

describe("memory freed with a stream", () => {
  test("goes at once to the next request for that stream", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using source = new AllocatedMemory(8 * mebibyte, "CPU_PINNED");
    const memory = new AllocatedMemory(5000, "GPU", gpu);
    const { pointer } = memory;
    const other = new AllocatedMemory(8 * mebibyte, "GPU", gpu);
    for (let i = 0; i < 10; i++) copyBuffer(other, source, { stream });
    memory.free(stream);
    memory.free(stream);
    memory.free();
    expect(memory.totalByteSize).toBe(0);
    other.free(stream);
    // 5120 bytes are as many granules as 5000.
    using again = new AllocatedMemory(5120, "GPU", gpu, { stream });
    expect(again.pointer).toBe(pointer);
    stream.synchronize();
  });

  test("goes to nobody before the stream is done if it is pinned, as the host follows no stream", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using target = new AllocatedMemory(8 * mebibyte, "GPU", gpu);
    const wanted = patternBytes(8 * mebibyte, 1);
    for (let i = 0; i < 12; i++) {
      // No request waits: where the stream is far behind, the pool is full.
      if (PinnedMemoryManager.stats().largestFreeByteSize < 8 * mebibyte) stream.synchronize();
      using memory = new AllocatedMemory(8 * mebibyte, "CPU_PINNED", 0, { stream });
      expect(memory.memoryType).toBe("CPU_PINNED");
      memory.bytes.fill(i);
      if (i === 11) memory.bytes.set(wanted);
      copyBuffer(target, memory, { stream });
      memory.free(stream);
    }
    stream.synchronize();
    const got = new Uint8Array(8 * mebibyte);
    target.read(got);
    expect(Buffer.compare(got, wanted)).toBe(0);
  });

  test("cannot be freed again by its address", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using source = new AllocatedMemory(16 * mebibyte, "CPU_PINNED");
    const target = new AllocatedMemory(16 * mebibyte, "GPU", gpu);
    for (let i = 0; i < 10; i++) copyBuffer(target, source, { stream });
    const pointer = target.pointer!;
    target.free(stream);
    expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(pointer, gpu));
    stream.synchronize();
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
    expectMemoryError("INVALID_ARG", () => CudaMemoryManager.free(pointer, gpu));
  });

  test("is an error where it was freed by its address before", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    const memory = new AllocatedMemory(512, "GPU", gpu);
    CudaMemoryManager.free(memory.pointer!, gpu);
    expectMemoryError("INVALID_ARG", () => memory.free(stream));
    CudaMemoryManager.reset();
    memory.free(stream); // does nothing: the pool is gone
    expect(memory.totalByteSize).toBe(0);
  });

  test("refuses to be freed with something that is not a stream", () => {
    createManagers();
    const memory = new AllocatedMemory(512, "GPU", gpu);
    for (const stream of [null, 5, {}, "stream"]) {
      expectMemoryError("INVALID_ARG", () => memory.free(untyped(stream)));
    }
    expect(memory.totalByteSize).toBe(512);
    memory.free();
    memory.free(undefined);
  });

  test("goes to the next requests for the stream where the pool has no other memory", () => {
    createManagers({ cudaByteSize: 32 * mebibyte });
    using stream = new CudaStream(gpu);
    using source = new AllocatedMemory(16 * mebibyte, "CPU_PINNED");
    for (let i = 0; i < 30; i++) {
      using memory = new AllocatedMemory(12 * mebibyte, "GPU", gpu, { stream });
      expect(memory.memoryType).toBe("GPU");
      copyBuffer(memory, source, { byteSize: 12 * mebibyte, stream });
      memory.free(stream);
    }
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({ failedAllocationCount: 0 });
    stream.synchronize();
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
  });

  test("is used by nobody else before the stream has done with it", async () => {
    createManagers({ cudaByteSize: 8 * mebibyte });
    const streams = [new CudaStream(gpu), new CudaStream(gpu), undefined];
    const wrong: string[] = [];
    await Promise.all(
      Array.from({ length: 60 }, async (_, i) => {
        const stream = streams[i % 3];
        const own = new CudaStream(gpu);
        const bytes = patternBytes(mebibyte, i + 1);
        using from = new AllocatedMemory(mebibyte, "CPU_PINNED");
        using to = new AllocatedMemory(mebibyte, "CPU_PINNED");
        from.bytes.set(bytes);
        const used = stream ?? own;
        const memory = new AllocatedMemory(mebibyte, "GPU", gpu, { stream: used });
        copyBuffer(memory, from, { stream: used });
        copyBuffer(to, memory, { stream: used });
        memory.free(used);
        await used.finished();
        if (memory.memoryType !== "GPU") wrong.push(`${i} fell back`);
        if (Buffer.compare(to.bytes, bytes) !== 0) wrong.push(`${i} has other bytes`);
        own[Symbol.dispose]();
      }),
    );
    for (const stream of streams) stream?.[Symbol.dispose]();
    expect(wrong).toEqual([]);
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
  });

  test("refuses options of the wrong type", () => {
    createManagers();
    for (const options of [5, null, { stream: 1 }, { stream: null }]) {
      expectMemoryError(
        "INVALID_ARG",
        () => new AllocatedMemory(512, "GPU", gpu, untyped(options)),
      );
    }
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
  });
});
