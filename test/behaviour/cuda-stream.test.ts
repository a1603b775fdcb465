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
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { createManagers, mebibyte } from "./memories.ts";

resetAfterEach();

const [gpu = 0, otherGpu] = gpus;

/**
 * Calls an action from the deepest calls that the stack has room for, which have no room for anything,
 * and from those before them, which have more and more. Returns what does not throw.
 */
function resultsAtEndOfStack(argumentCount: number, action: () => unknown): unknown[] {
  const results: unknown[] = [];
  let triedCount = 0;
  const descend = (...args: number[]): void => {
    try {
      descend(...args);
    } catch {}
    if (triedCount++ >= 200) return;
    try {
      results.push(action());
    } catch {}
  };
  descend(...Array.from({ length: argumentCount }, () => 0));
  return results;
}

describe("a stream", () => {
  test("has a device and a handle of its own", () => {
    using stream = new CudaStream(gpu);
    using other = new CudaStream(gpu);
    expect(stream.deviceId).toBe(gpu);
    expect(stream.handle).toBeGreaterThan(0);
    expect(stream.handle).not.toBe(other.handle);
    using ofFirst = new CudaStream();
    expect(ofFirst.deviceId).toBe(0);
  });

  test("is done where it has no work", async () => {
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

  test("may be disposed of with work under way, and the managers may be reset", () => {
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

  test("does its queued work although it is disposed of", async () => {
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

  test("finishes although work keeps being queued on it", async () => {
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

  test("cannot be posted", () => {
    using stream = new CudaStream(gpu);
    for (const post of [
      () => structuredClone(stream),
      () => structuredClone({ streams: [stream] }),
      () => new MessageChannel().port1.postMessage(stream),
    ]) {
      expect(post).toThrow(expect.objectContaining({ name: "DataCloneError" }));
    }
  });

  test("shows what it is where it is printed", () => {
    const stream = new CudaStream(gpu);
    const handle = `handle 0x${stream.handle.toString(16)}`;
    expect(Bun.inspect(stream)).toBe(`CudaStream { GPU ${gpu}, ${handle} }`);
    stream[Symbol.dispose]();
    expect(Bun.inspect({ stream })).toContain(`CudaStream { GPU ${gpu}, ${handle}, disposed of }`);
    expect(Bun.inspect(CudaStream.prototype)).toContain("CudaStream");
  });

  test("is none where it only looks like one", () => {
    createManagers();
    using stream = new CudaStream(gpu);
    const memory = new AllocatedMemory(512, "GPU", gpu);
    for (const forged of [
      Object.create(stream) as object,
      { ...stream },
      new Proxy(stream, {}),
      CudaStream.prototype,
      1,
      null,
      Symbol("stream"),
    ]) {
      expectMemoryError("INVALID_ARG", () => memory.free(untyped(forged)));
    }
    expect(memory.totalByteSize).toBe(512);
    memory.free();
    class Named extends CudaStream {}
    using named = new Named(gpu);
    new AllocatedMemory(512, "GPU", gpu).free(named);
  });

  test("keeps no stream, no staging and no memory where the stack ends in the middle of a call", async () => {
    createManagers();
    const uses: ((stream: CudaStream, memory: AllocatedMemory) => unknown)[] = [
      (stream) => stream.finished(),
      (stream) => stream.synchronize(),
      (stream) => stream[Symbol.dispose](),
      (stream, memory) => memory.writeAsync(new Uint8Array(512), 0, { stream }),
      (_, memory) => memory.readAsync(new Uint8Array(512)),
      (stream, memory) => copyBuffer(memory, memory, { stream, targetOffset: 256, byteSize: 256 }),
    ];
    for (const use of uses) {
      // Calls with more arguments take more of the stack, which ends at other places then.
      for (let argumentCount = 0; argumentCount < 40; argumentCount += 3) {
        const stream = new CudaStream(gpu);
        const memory = new AllocatedMemory(512, "GPU", gpu);
        await Promise.allSettled(
          resultsAtEndOfStack(argumentCount, () => use(stream, memory)).filter(
            (result) => result instanceof Promise,
          ),
        );
        await memory.readAsync(new Uint8Array(512));
        memory.free();
        stream[Symbol.dispose]();
        expect(() => stream.isDone()).toThrow("disposed of");
        expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
        expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
      }
    }
  }, 30_000);

  test.skipIf(otherGpu === undefined)("works on each of two GPUs", async () => {
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
