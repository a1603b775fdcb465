import type { Pointer } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf, usedByteSize } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;
const legacy = 0 as Pointer;

describe("a stream of somebody else", () => {
  /** The streams that are borrowed: one that was created, and both handles of the default stream. */
  const owners = {
    "one that was created": () => new CudaStream(gpu),
    "the default stream": () => null,
  };

  describe.each(Object.keys(owners) as (keyof typeof owners)[])("%s", (kind) => {
    test("works with everything that takes a stream", async () => {
      createManagers();
      using owner = owners[kind]();
      using stream = CudaStream.from(owner?.handle ?? legacy, gpu);
      expect(stream.deviceId).toBe(gpu);
      expect(stream.handle).toBe(owner?.handle ?? legacy);
      const bytes = patternBytes(9 * mebibyte);
      using tensor = new AllocatedMemory(9 * mebibyte, "GPU", gpu, { stream });
      await tensor.writeAsync(bytes, 0, { stream });
      const target = memoryOf("CPU_PINNED", 9 * mebibyte);
      copyBuffer(target, tensor, { stream });
      using other = new CudaStream(gpu);
      other.waitFor(stream);
      using last = memoryOf("CPU_PINNED", 9 * mebibyte);
      copyBuffer(last, tensor, { stream: other });
      await other.finished();
      expect(Buffer.compare(last.bytes, bytes)).toBe(0);
      stream.waitFor(other);
      target.free([stream, other]);
      const back = new Uint8Array(9 * mebibyte);
      await tensor.readAsync(back, 0, { stream });
      expect(Buffer.compare(back, bytes)).toBe(0);
      tensor.free(stream);
      await stream.finished();
      stream.synchronize();
      expect(stream.isDone()).toBeTrue();
      expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
      owner?.synchronize();
    });

    test("is not destroyed, however it is disposed of", async () => {
      createManagers();
      using owner = owners[kind]();
      const handle = owner?.handle ?? legacy;
      {
        await using first = CudaStream.from(handle, gpu);
        using second = CudaStream.from(handle, gpu);
        expect(second.isDone()).toBeTrue();
        expect(first).not.toBe(second);
      }
      for (let i = 0; i < 3; i++) {
        const stream = CudaStream.from(handle, gpu);
        stream.synchronize();
        stream[Symbol.dispose]();
        stream[Symbol.dispose]();
        expectMemoryError("INVALID_ARG", () => stream.synchronize());
      }
      owner?.synchronize();
    });

    test("is the same stream by whatever object", async () => {
      createManagers();
      using owner = owners[kind]();
      const handle = owner?.handle ?? legacy;
      using first = CudaStream.from(handle, gpu);
      using second = CudaStream.from(handle, gpu);
      const memory = memoryOf("GPU", 5000);
      const { pointer } = memory;
      memory.free(first);
      using again = new AllocatedMemory(5000, "GPU", gpu, { stream: second });
      expect(again.pointer).toBe(pointer);
      // Transfers come after each other by whichever object they were asked for.
      using tensor = memoryOf("GPU", 20 * mebibyte);
      const bytes = patternBytes(20 * mebibyte);
      const back = new Uint8Array(20 * mebibyte);
      const transfers = [
        tensor.writeAsync(new Uint8Array(20 * mebibyte), 0, { stream: first }),
        tensor.writeAsync(bytes, 0, { stream: second }),
        tensor.readAsync(back, 0, { stream: first }),
      ];
      expect(second.isDone()).toBeFalse();
      await second.finished();
      await Promise.all(transfers);
      expect(Buffer.compare(back, bytes)).toBe(0);
    });

    test("does what was queued on it although it is disposed of, and its memories stay", async () => {
      createManagers();
      using owner = owners[kind]();
      using target = memoryOf("CPU_PINNED", 8 * mebibyte);
      const queue = () => {
        using stream = CudaStream.from(owner?.handle ?? legacy, gpu);
        const tensor = memoryOf("GPU", 8 * mebibyte);
        tensor.fill(7);
        for (let i = 0; i < 5; i++) copyBuffer(target, tensor, { stream });
      };
      queue();
      Bun.gc(true);
      using stream = CudaStream.from(owner?.handle ?? legacy, gpu);
      await stream.finished();
      expect(target.bytes.at(-1)).toBe(7);
    });

    test("outlives managers that are reset", () => {
      using owner = owners[kind]();
      using stream = CudaStream.from(owner?.handle ?? legacy, gpu);
      for (let i = 0; i < 3; i++) {
        createManagers();
        const source = memoryOf("CPU_PINNED", mebibyte);
        const tensor = memoryOf("GPU", mebibyte);
        copyBuffer(tensor, source, { stream });
        source.free(stream);
        tensor.free(stream);
        PinnedMemoryManager.reset();
        CudaMemoryManager.reset();
      }
    });
  });

  test("is not missed where it is dropped", async () => {
    createManagers();
    using owner = new CudaStream(gpu);
    const drop = () => {
      const stream = CudaStream.from(owner.handle, gpu);
      using tensor = memoryOf("GPU", mebibyte);
      using source = memoryOf("CPU_PINNED", mebibyte);
      copyBuffer(tensor, source, { stream });
      tensor.free(stream);
    };
    for (let i = 0; i < 20; i++) drop();
    owner.synchronize();
    for (let i = 0; i < 20; i++) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
    expect([...logged.warn, ...logged.error]).toEqual([]);
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
  });

  test("is not asked once its owner has destroyed it", async () => {
    createManagers();
    const owner = new CudaStream(gpu);
    const stream = CudaStream.from(owner.handle, gpu);
    const tensor = memoryOf("GPU", mebibyte);
    using source = memoryOf("CPU_PINNED", mebibyte);
    copyBuffer(tensor, source, { stream });
    tensor.free(stream);
    await stream.finished();
    copyBuffer(memoryOf("GPU", mebibyte), source, { stream });
    owner.synchronize();
    owner[Symbol.dispose]();
    // A driver ends the process for what is asked of a stream that is gone.
    for (let i = 0; i < 5; i++) {
      Bun.gc(true);
      await Bun.sleep(1);
      expect(usedByteSize()).toBeLessThanOrEqual(2 * mebibyte);
    }
    PinnedMemoryManager.reset();
    CudaMemoryManager.reset();
    stream[Symbol.dispose]();
    expect(logged.error).toEqual([]);
  });

  test("has two handles where it is the default stream, and none where it is a thread's", () => {
    createManagers();
    using stream = CudaStream.from(legacy, gpu);
    using same = CudaStream.from(1 as Pointer, gpu);
    const memory = memoryOf("GPU", 5000);
    const { pointer } = memory;
    memory.free(stream);
    using again = new AllocatedMemory(5000, "GPU", gpu, { stream: same });
    expect(again.pointer).toBe(pointer);
    expect(contentOf(again)).toHaveLength(5000);
    const message = expectMemoryError("UNSUPPORTED", () => CudaStream.from(2 as Pointer, gpu));
    expect(message).toContain("each thread");
  });

  test("needs a handle and a GPU", () => {
    for (const handle of [...notWholeNumbers, -0, null, 1n, {}, [], true]) {
      expectMemoryError("INVALID_ARG", () => CudaStream.from(untyped(handle), gpu));
    }
    for (const deviceId of [...notWholeNumbers, undefined]) {
      expectMemoryError("INVALID_ARG", () => CudaStream.from(legacy, untyped(deviceId)));
    }
    expectMemoryError("UNAVAILABLE", () => CudaStream.from(legacy, 1000));
    expectMemoryError("UNAVAILABLE", () => CudaStream.from(legacy, 2 ** 40));
  });

  test("shows what it is where it is printed, and cannot be posted", () => {
    using stream = CudaStream.from(legacy, gpu);
    expect(Bun.inspect(stream)).toBe(`CudaStream { GPU ${gpu}, handle 0x0 }`);
    expect(() => structuredClone(stream)).toThrow(
      expect.objectContaining({ name: "DataCloneError" }),
    );
  });
});
