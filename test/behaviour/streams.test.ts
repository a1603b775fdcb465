import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import {
  expectMemoryError,
  gpus,
  notWholeNumbers,
  patternBytes,
  resetAfterEach,
  untyped,
} from "../support/memory.ts";

resetAfterEach();

const [gpu = 0, otherGpu] = gpus;
const mebibyte = 1024 ** 2;

function createManagers(cudaByteSize = 64 * mebibyte): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 64 * mebibyte });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: cudaByteSize } });
}

describe("a stream", () => {
  test("says what it is", () => {
    using stream = new CudaStream(gpu);
    using other = new CudaStream(gpu);
    expect(stream.deviceId).toBe(gpu);
    expect(stream.handle).toBeGreaterThan(0);
    expect(stream.handle).not.toBe(other.handle);
    using ofFirst = new CudaStream();
    expect(ofFirst.deviceId).toBe(0);
  });

  test("without work is done", async () => {
    using stream = new CudaStream(gpu);
    expect(stream.isDone()).toBeTrue();
    stream.synchronize();
    await stream.finished();
  });

  test("is done once its work is", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using source = new AllocatedMemory(16 * mebibyte, "CPU_PINNED");
    using target = new AllocatedMemory(16 * mebibyte, "GPU", gpu);
    for (const wait of [() => stream.finished(), () => stream.synchronize()]) {
      for (let i = 0; i < 20; i++) copyBuffer(target, source, { stream });
      await wait();
      expect(stream.isDone()).toBeTrue();
    }
    for (let i = 0; i < 20; i++) copyBuffer(target, source, { stream });
    while (!stream.isDone()) await Bun.sleep(0);
  });

  test("can be waited for by many", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using source = new AllocatedMemory(mebibyte, "CPU_PINNED");
    using target = new AllocatedMemory(mebibyte, "GPU", gpu);
    const waits = Array.from({ length: 50 }, () => {
      copyBuffer(target, source, { stream });
      return stream.finished();
    });
    await Promise.all(waits);
    expect(stream.isDone()).toBeTrue();
  });

  test("cannot be used once it is disposed of", async () => {
    createManagers();
    const stream = new CudaStream(gpu);
    stream[Symbol.dispose]();
    stream[Symbol.dispose]();
    const memory = new AllocatedMemory(512, "GPU", gpu);
    for (const use of [
      () => stream.synchronize(),
      () => stream.isDone(),
      () => memory.free(stream),
      () => copyBuffer(memory, memory, { stream, targetOffset: 256, byteSize: 256 }),
      () => new AllocatedMemory(512, "GPU", gpu, { stream }),
    ]) {
      expect(expectMemoryError("INVALID_ARG", use)).toContain("disposed of");
    }
    expect(stream.finished()).rejects.toMatchObject({ code: "INVALID_ARG" });
    expect(memory.totalByteSize).toBe(512);
    memory.free();
  });

  test("needs a GPU that is there", () => {
    expectMemoryError("UNAVAILABLE", () => new CudaStream(1000));
    for (const deviceId of notWholeNumbers.filter((value) => value !== undefined)) {
      expectMemoryError("INVALID_ARG", () => new CudaStream(untyped(deviceId)));
    }
  });

  test("may go with work under way, and so may the managers", () => {
    for (let i = 0; i < 5; i++) {
      createManagers();
      const stream = new CudaStream(gpu);
      const source = new AllocatedMemory(16 * mebibyte, "CPU_PINNED");
      const target = new AllocatedMemory(16 * mebibyte, "GPU", gpu);
      for (let j = 0; j < 10; j++) copyBuffer(target, source, { stream });
      source.free(stream);
      target.free(stream);
      if (i % 2 === 0) stream[Symbol.dispose]();
      PinnedMemoryManager.reset();
      CudaMemoryManager.reset();
      stream[Symbol.dispose]();
    }
  });

  test("that is disposed of first does what it was given", async () => {
    createManagers();
    using memory = new AllocatedMemory(16 * mebibyte, "GPU", gpu);
    const [first, second] = [patternBytes(16 * mebibyte, 1), patternBytes(16 * mebibyte, 2)];
    const back = new Uint8Array(16 * mebibyte);
    const stream = new CudaStream(gpu);
    const work = [
      memory.writeAsync(first, 0, { stream }),
      memory.writeAsync(second, 0, { stream }),
      memory.readAsync(back, 0, { stream }),
      stream.finished(),
    ];
    stream[Symbol.dispose]();
    await Promise.all(work);
    expect(Buffer.compare(back, second)).toBe(0);
  });

  test("finishes though more is given to it all the time", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using memory = new AllocatedMemory(512, "GPU", gpu);
    let isFinished = false;
    const keepBusy = async () => {
      for (let i = 0; i < 10_000 && !isFinished; i++) {
        await memory.writeAsync(new Uint8Array(512), 0, { stream });
      }
      expect(isFinished).toBeTrue();
    };
    const busy = [keepBusy(), keepBusy()];
    await stream.finished();
    isFinished = true;
    await Promise.all(busy);
  });

  test.skipIf(otherGpu === undefined)("of each of two GPUs works beside the other", async () => {
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 16 * mebibyte });
    const byteSizes = { [gpu]: 16 * mebibyte, [otherGpu!]: 16 * mebibyte };
    CudaMemoryManager.create({ memoryPoolByteSize: byteSizes });
    using one = new CudaStream(gpu);
    using other = new CudaStream(otherGpu);
    using source = new AllocatedMemory(mebibyte, "CPU_PINNED");
    source.bytes.set(patternBytes(mebibyte));
    using first = new AllocatedMemory(mebibyte, "GPU", gpu);
    using second = new AllocatedMemory(mebibyte, "GPU", otherGpu);
    copyBuffer(first, source, { stream: one });
    await one.finished();
    copyBuffer(second, first, { stream: other });
    await other.finished();
    const back = new Uint8Array(mebibyte);
    await second.readAsync(back);
    expect(Buffer.compare(back, source.bytes)).toBe(0);
  });
});

describe("memory freed with a stream", () => {
  test("is had at once by the next request for that stream", () => {
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
    // Of the same size in whole granules.
    using again = new AllocatedMemory(5120, "GPU", gpu, { stream });
    expect(again.pointer).toBe(pointer);
    stream.synchronize();
  });

  test("is had by nobody before where it is pinned, for the host uses it in no stream's order", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using target = new AllocatedMemory(8 * mebibyte, "GPU", gpu);
    const wanted = patternBytes(8 * mebibyte, 1);
    for (let i = 0; i < 12; i++) {
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

  test("that was freed by its address before is told", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    const memory = new AllocatedMemory(512, "GPU", gpu);
    CudaMemoryManager.free(memory.pointer!, gpu);
    expectMemoryError("INVALID_ARG", () => memory.free(stream));
    CudaMemoryManager.reset();
    memory.free(stream); // it has gone with its pool
    expect(memory.totalByteSize).toBe(0);
  });

  test("is not freed with what is no stream", () => {
    createManagers();
    const memory = new AllocatedMemory(512, "GPU", gpu);
    for (const stream of [null, 5, {}, "stream"]) {
      expectMemoryError("INVALID_ARG", () => memory.free(untyped(stream)));
    }
    expect(memory.totalByteSize).toBe(512);
    memory.free();
    memory.free(undefined);
  });

  test("is waited for where the pool has nothing else", () => {
    createManagers(32 * mebibyte);
    using stream = new CudaStream(gpu);
    using source = new AllocatedMemory(16 * mebibyte, "CPU_PINNED");
    for (let i = 0; i < 30; i++) {
      using memory = new AllocatedMemory(12 * mebibyte, "GPU", gpu);
      expect(memory.memoryType).toBe("GPU");
      copyBuffer(memory, source, { byteSize: 12 * mebibyte, stream });
      memory.free(stream);
    }
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({ failedAllocationCount: 0 });
    stream.synchronize();
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
  });

  test("is used by nobody else before the stream has done with it", async () => {
    createManagers(8 * mebibyte);
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

  test("refuses options that are none", () => {
    createManagers();
    for (const options of [5, null, { stream: 1 }, { whenFull: "never" }, { whenFull: 1 }]) {
      expectMemoryError(
        "INVALID_ARG",
        () => new AllocatedMemory(512, "GPU", gpu, untyped(options)),
      );
    }
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
  });
});
