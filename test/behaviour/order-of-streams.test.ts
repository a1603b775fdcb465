import { describe, expect, test } from "bun:test";
import { AllocatedMemory, copyBuffer, CudaMemoryManager, CudaStream } from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf, usedByteSize } from "./memories.ts";

resetAfterEach();

const [gpu = 0, otherGpu] = gpus;

describe("a stream that waits for another", () => {
  test("comes after what the other was given so far", async () => {
    createManagers();
    using upload = new CudaStream(gpu);
    using compute = new CudaStream(gpu);
    using source = memoryOf("CPU_PINNED", 8 * mebibyte);
    using target = memoryOf("CPU_PINNED", 8 * mebibyte);
    using tensor = memoryOf("GPU", 8 * mebibyte);
    for (let i = 1; i <= 20; i++) {
      source.bytes.fill(i);
      for (let j = 0; j < 5; j++) copyBuffer(tensor, source, { stream: upload });
      compute.waitFor(upload);
      copyBuffer(target, tensor, { stream: compute });
      await compute.finished();
      expect(target.bytes[8 * mebibyte - 1]).toBe(i);
      expect(upload.isDone()).toBeTrue();
    }
  });

  test("may wait for itself, and for one that waits for it", () => {
    createManagers();
    using first = new CudaStream(gpu);
    using second = new CudaStream(gpu);
    first.waitFor(first);
    second.waitFor(first);
    first.waitFor(second);
    first.synchronize();
    second.synchronize();
  });

  test("needs two streams that are not disposed of", () => {
    using stream = new CudaStream(gpu);
    const gone = new CudaStream(gpu);
    gone[Symbol.dispose]();
    for (const [one, other] of [
      [stream, gone],
      [gone, stream],
      [stream, undefined],
      [stream, null],
      [stream, {}],
      [stream, [stream]],
    ]) {
      expectMemoryError("INVALID_ARG", () => (one as CudaStream).waitFor(untyped(other)));
    }
  });

  test.skipIf(otherGpu === undefined)("may be of another GPU", async () => {
    CudaMemoryManager.create({
      memoryPoolByteSize: { [gpu]: 16 * mebibyte, [otherGpu!]: 16 * mebibyte },
    });
    using one = new CudaStream(gpu);
    using other = new CudaStream(otherGpu);
    using first = new AllocatedMemory(8 * mebibyte, "GPU", gpu);
    using second = new AllocatedMemory(8 * mebibyte, "GPU", otherGpu);
    const bytes = patternBytes(8 * mebibyte);
    await first.writeAsync(bytes, 0, { stream: one });
    second.fill(0);
    for (let i = 0; i < 5; i++) copyBuffer(second, first, { stream: one });
    other.waitFor(one);
    const back = new Uint8Array(8 * mebibyte);
    await second.readAsync(back, 0, { stream: other });
    expect(Buffer.compare(back, bytes)).toBe(0);
  });
});

describe("memory freed with several streams", () => {
  test.each(["GPU", "CPU_PINNED", "CPU"] as const)("comes back when all are done: %s", (type) => {
    createManagers(type === "CPU" ? { pinnedByteSize: 0 } : {});
    using first = new CudaStream(gpu);
    using second = new CudaStream(gpu);
    using onGpu = memoryOf("GPU", 4 * mebibyte);
    for (let i = 0; i < 10; i++) {
      const memory = memoryOf(type, 4 * mebibyte);
      for (const stream of [first, second]) copyBuffer(onGpu, memory, { stream });
      memory.free([first, second]);
      expect(memory.totalByteSize).toBe(0);
      memory.free([first, second]);
    }
    first.synchronize();
    second.synchronize();
    expect(usedByteSize()).toBe(4 * mebibyte);
  });

  test("keeps its bytes for all of them", async () => {
    createManagers({ cudaByteSize: 8 * mebibyte });
    const streams = [new CudaStream(gpu), new CudaStream(gpu), new CudaStream(gpu)];
    const targets = streams.map(() => memoryOf("CPU_PINNED", 4 * mebibyte));
    for (let i = 0; i < 10; i++) {
      const tensor = new AllocatedMemory(4 * mebibyte, "GPU", gpu);
      tensor.fill(i);
      streams.forEach((stream, index) => copyBuffer(targets[index]!, tensor, { stream }));
      tensor.free(streams);
      using next = new AllocatedMemory(4 * mebibyte, "GPU", gpu);
      next.fill(255);
      for (const stream of streams) await stream.finished();
      const wanted = new Uint8Array(4 * mebibyte).fill(i);
      for (const target of targets) expect(Buffer.compare(target.bytes, wanted)).toBe(0);
    }
    for (const target of targets) target.free();
    for (const stream of streams) stream[Symbol.dispose]();
    expect(usedByteSize()).toBe(0);
  });

  test("is freed at once where there is none, and one stream is one however often it is named", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    memoryOf("GPU", 512).free([]);
    expect(usedByteSize()).toBe(0);
    const memory = memoryOf("GPU", 512);
    const { pointer } = memory;
    memory.free([stream, stream, stream]);
    using again = new AllocatedMemory(512, "GPU", gpu, { stream });
    expect(again.pointer).toBe(pointer);
    stream.synchronize();
  });

  test("is not freed where one of them is no stream, or disposed of", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    const gone = new CudaStream(gpu);
    gone[Symbol.dispose]();
    const memory = memoryOf("GPU", 512);
    for (const streams of [
      [stream, gone],
      [stream, null],
      [undefined],
      [[stream]],
      // oxlint-disable-next-line no-sparse-arrays
      [stream, , stream],
      new Set([stream]),
      { length: 1, 0: stream },
      new Proxy([stream], {
        get() {
          throw new TypeError("no");
        },
      }),
    ]) {
      expectMemoryError("INVALID_ARG", () => memory.free(untyped(streams)));
    }
    expect(memory.totalByteSize).toBe(512);
    memory.free([stream]);
    stream.synchronize();
    expect(usedByteSize()).toBe(0);
  });

  test("is freed after a transfer that is under way", async () => {
    createManagers();
    using first = new CudaStream(gpu);
    using second = new CudaStream(gpu);
    const memory = memoryOf("GPU", 16 * mebibyte);
    const transfer = memory.writeAsync(new Uint8Array(16 * mebibyte), 0, { stream: first });
    memory.free([first, second]);
    expect(usedByteSize()).toBeGreaterThan(0);
    await transfer;
    await first.finished();
    await second.finished();
    expect(usedByteSize()).toBe(0);
  });
});

describe("a stream that is awaited when it is disposed of", () => {
  test("is done then", async () => {
    createManagers();
    using source = memoryOf("CPU_PINNED", 16 * mebibyte);
    using target = memoryOf("GPU", 16 * mebibyte);
    source.bytes.fill(3);
    const run = async () => {
      await using stream = new CudaStream(gpu);
      for (let i = 0; i < 10; i++) copyBuffer(target, source, { stream });
      return stream;
    };
    const stream = await run();
    expectMemoryError("INVALID_ARG", () => stream.isDone());
    expect(contentOf(target).at(-1)).toBe(3);
    await stream[Symbol.asyncDispose]();
    expect(logged.error).toEqual([]);
  });

  test("does not cover up another error", async () => {
    const run = async () => {
      await using stream = new CudaStream(gpu);
      stream[Symbol.dispose]();
      throw new RangeError("the first");
    };
    await expect(run()).rejects.toThrow(new RangeError("the first"));
    expect(logged.error).toEqual([]);
  });
});
