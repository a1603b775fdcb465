// Memory that somebody else owns.

import { describe, expect, test } from "bun:test";
import { ptr } from "bun:ffi";
import {
  AllocatedMemory,
  type BorrowedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  type MemoryType,
  MutableMemory,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError, expectSame, rejectionOf } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

/** Waits until what happens in later turns of the event loop has happened. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !condition(); i++) await Bun.sleep(2);
  expect(condition()).toBeTrue();
}

/** The same, for what the garbage collector has to find. */
function untilCollected(condition: () => boolean): Promise<void> {
  return until(() => {
    Bun.gc(true);
    return condition();
  });
}

/** Bytes that nobody moves or collects while the test runs. */
function ownBytes(byteSize: number) {
  const bytes = new Uint8Array(new ArrayBuffer(byteSize));
  return { bytes, pointer: ptr(bytes) };
}

/** Memory of a pool that this package does not know as an `AllocatedMemory`. */
function lend(memoryType: MemoryType, byteSize: number, release?: () => void): MutableMemory {
  const pointer =
    memoryType === "GPU"
      ? CudaMemoryManager.alloc(byteSize, gpu)
      : PinnedMemoryManager.alloc(byteSize).pointer;
  return new MutableMemory({
    pointer,
    byteSize,
    memoryType,
    memoryTypeId: memoryType === "GPU" ? gpu : 0,
    release() {
      if (memoryType === "GPU") CudaMemoryManager.free(pointer, gpu);
      else PinnedMemoryManager.free(pointer);
      release?.();
    },
  });
}

describe("memory that somebody else owns", () => {
  test.each(["GPU", "CPU_PINNED"] as const)(
    "does all that allocated memory does: %s",
    async (type) => {
      createManagers();
      const byteSize = 5 * mebibyte;
      using memory = lend(type, byteSize);
      expect(memory).not.toBeInstanceOf(AllocatedMemory);
      expect(memory).toMatchObject({
        totalByteSize: byteSize,
        bufferCount: 1,
        memoryType: type,
        memoryTypeId: type === "GPU" ? gpu : 0,
      });
      expect(memory.bufferAt(0)).toEqual({
        pointer: memory.pointer!,
        byteSize,
        memoryType: type,
        memoryTypeId: memory.memoryTypeId,
      });
      const bytes = patternBytes(byteSize);
      memory.write(bytes);
      expectSame(contentOf(memory), bytes);
      memory.fill(7);
      expect(contentOf(memory).every((byte) => byte === 7)).toBeTrue();
      await memory.writeAsync(bytes);
      const back = new Uint8Array(byteSize);
      await memory.readAsync(back);
      expectSame(back, bytes);
      using stream = new CudaStream(gpu);
      using other = memoryOf("GPU", byteSize);
      expect(copyBuffer(other, memory, { stream })).toBeTrue();
      await stream.finished();
      expectSame(contentOf(other), bytes);
      copyBuffer(memory, other, { byteSize: 10, targetOffset: 20 });
      expectSame(contentOf(memory).subarray(20, 30), bytes.subarray(0, 10));
      expect(Bun.inspect(memory)).toStartWith(`MutableMemory { ${byteSize} bytes, ${type}`);
    },
  );

  test("is an ordinary buffer's too, whose bytes it shares", () => {
    const { bytes, pointer } = ownBytes(4096);
    using memory = new MutableMemory({ pointer, byteSize: 4096, memoryType: "CPU" });
    memory.fill(3);
    expect(bytes.every((byte) => byte === 3)).toBeTrue();
    memory.bytes[100] = 4;
    expect(bytes[100]).toBe(4);
    expect(memory.bytes).toBe(memory.bytes);
  });

  test("is left as it is when its use ends, and its owner is told once", () => {
    const { bytes, pointer } = ownBytes(64);
    let releaseCount = 0;
    const release = () => void releaseCount++;
    const memory = new MutableMemory({ pointer, byteSize: 64, memoryType: "CPU", release });
    memory.fill(9);
    const view = memory.bytes;
    memory.free();
    expect(releaseCount).toBe(1);
    memory.free();
    memory[Symbol.dispose]();
    expect(releaseCount).toBe(1);
    expect(bytes.every((byte) => byte === 9)).toBeTrue();
    expect(view).toHaveLength(0);
    expect(memory).toMatchObject({ totalByteSize: 0, bufferCount: 0, pointer: null });
    for (const use of [
      () => memory.bytes,
      () => memory.write(new Uint8Array(1)),
      () => memory.read(new Uint8Array(1)),
      () => memory.fill(0),
      () => memory.subarray(),
    ]) {
      expect(expectMemoryError("UNAVAILABLE", use)).toContain("was freed");
    }
    expect(Bun.inspect(memory)).toBe("MutableMemory { was freed }");
  });

  test("needs no function that is told", () => {
    const { pointer } = ownBytes(64);
    const memory = new MutableMemory({ pointer, byteSize: 64, memoryType: "CPU" });
    memory.free();
    expectMemoryError("UNAVAILABLE", () => memory.fill(0));
  });

  test("is released when transfers and holds are over", async () => {
    createManagers();
    let releaseCount = 0;
    const memory = lend("GPU", 16 * mebibyte, () => releaseCount++);
    const transfer = memory.writeAsync(new Uint8Array(16 * mebibyte)).then(
      () => "done",
      (error) => error.code,
    );
    const { promise, resolve } = Promise.withResolvers<void>();
    const hold = memory.holdUntil(promise);
    memory.free();
    expect(releaseCount).toBe(0);
    expect(await transfer).toBe("UNAVAILABLE");
    expect(releaseCount).toBe(0);
    resolve();
    await hold;
    expect(releaseCount).toBe(1);
  });

  test("is released when the stream has done what it was given", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using target = memoryOf("GPU", mebibyte);
    let releaseCount = 0;
    const source = lend("CPU_PINNED", mebibyte, () => releaseCount++);
    source.write(patternBytes(mebibyte));
    copyBuffer(target, source, { stream });
    source.free(stream);
    expectMemoryError("UNAVAILABLE", () => source.fill(0));
    await until(() => releaseCount === 1);
    expectSame(contentOf(target), patternBytes(mebibyte));
    expectMemoryError("INVALID_ARG", () => target.free(untyped({})));
  });

  test("is not released while somebody has its bytes that were transferred away", async () => {
    const { bytes, pointer } = ownBytes(4096);
    let releaseCount = 0;
    const release = () => void releaseCount++;
    const source = { pointer, byteSize: 4096, memoryType: "CPU", release } as const;
    const transferAway = () => {
      using memory = new MutableMemory(source);
      const { buffer } = memory.bytes;
      return structuredClone(buffer, { transfer: [buffer] });
    };
    const elsewhere = Array.from({ length: 20 }, transferAway);
    await Bun.sleep(20);
    expect(releaseCount).toBe(0);
    new Uint8Array(elsewhere[7]!).fill(5);
    expect(bytes[4095]).toBe(5);
    elsewhere.length = 0;
    await untilCollected(() => releaseCount > 15); // the collector may see some in old stack frames
  });

  test("is released with a warning where it was dropped", async () => {
    const { pointer } = ownBytes(4096);
    let releaseCount = 0;
    const release = () => void releaseCount++;
    const source = { pointer, byteSize: 4096, memoryType: "CPU", release } as const;
    for (let i = 0; i < 20; i++) new MutableMemory(source).bytes.fill(1);
    await untilCollected(() => releaseCount > 15);
    expect(logged.warn).toContain(
      "bun-cuda-memory: a MutableMemory of 4096 bytes (CPU 0) was never disposed of; it has been released now that " +
        "it was garbage collected",
    );
  });

  test("logs what its owner throws where nobody can be told", async () => {
    const { pointer } = ownBytes(64);
    const release = () => {
      throw new Error("the owner is gone");
    };
    const source = { pointer, byteSize: 64, memoryType: "CPU", release } as const;
    new MutableMemory(source)[Symbol.dispose]();
    expect(logged.error.splice(0)).toEqual([expect.stringContaining("the owner is gone")]);
    expect(() => new MutableMemory(source).free()).toThrow("the owner is gone");
    const memory = new MutableMemory(source);
    const hold = memory.holdUntil(Promise.resolve());
    memory.free();
    await hold;
    expect(logged.error).toEqual([expect.stringContaining("the owner is gone")]);
  });

  test("outlives the managers, and a reset leaves its views alone", () => {
    createManagers();
    const { bytes, pointer } = ownBytes(64);
    using memory = new MutableMemory({ pointer, byteSize: 64, memoryType: "CPU_PINNED" });
    const view = memory.bytes;
    PinnedMemoryManager.reset();
    CudaMemoryManager.reset();
    memory.fill(6);
    expect(view[63]).toBe(6);
    expect(memory.bytes).toBe(view);
    expect(bytes[63]).toBe(6);
  });

  test("may be empty, with an address or without", () => {
    for (const pointer of [null, ownBytes(8).pointer]) {
      let releaseCount = 0;
      const release = () => void releaseCount++;
      const memory = new MutableMemory({ pointer, byteSize: 0, memoryType: "CPU", release });
      expect(memory).toMatchObject({ totalByteSize: 0, bufferCount: 0, pointer: null });
      memory.write(new Uint8Array(0));
      memory.fill(1);
      expect(memory.bytes).toHaveLength(0);
      expect(memory.subarray().totalByteSize).toBe(0);
      memory.free();
      memory.free();
      expect(releaseCount).toBe(1);
      expectMemoryError("UNAVAILABLE", () => memory.fill(1));
    }
  });

  test("is refused where it is not described as it has to be", () => {
    const { pointer } = ownBytes(64);
    const right = { pointer, byteSize: 64, memoryType: "CPU" } as const;
    const refuse = (source: unknown) =>
      expectMemoryError("INVALID_ARG", () => new MutableMemory(source as BorrowedMemory));
    for (const source of [undefined, null, 5, "memory", [], new Map(), new Uint8Array(8)]) {
      refuse(source);
    }
    for (const value of [...notWholeNumbers, 0, ownBytes(8).bytes]) {
      refuse({ ...right, pointer: value });
      if (value !== 0) refuse({ ...right, byteSize: value });
      if (value !== undefined && value !== 0) refuse({ ...right, memoryTypeId: value });
    }
    refuse({ ...right, pointer: undefined, byteSize: 0 });
    refuse({ ...right, byteSize: Number.MAX_SAFE_INTEGER });
    for (const memoryType of ["TPU", undefined, 2]) refuse({ ...right, memoryType });
    for (const release of [null, 5, {}]) refuse({ ...right, release });
    refuse({ ...right, size: 64 });
    expectMemoryError("UNAVAILABLE", () => {
      return new MutableMemory({ ...right, memoryType: "GPU", memoryTypeId: 1000 });
    });
    expect(new MutableMemory({ ...right, memoryTypeId: 3 }).memoryTypeId).toBe(0);
  });

  test("is refused where the address is a GPU's and the host's is meant", () => {
    createManagers();
    using onGpu = memoryOf("GPU", 512);
    const pointer = onGpu.pointer!;
    for (const memoryType of ["CPU", "CPU_PINNED"] as const) {
      const source = { pointer, byteSize: 512, memoryType };
      expectMemoryError("INVALID_ARG", () => new MutableMemory(source));
    }
  });

  test("cannot be posted", () => {
    const { pointer } = ownBytes(64);
    using memory = new MutableMemory({ pointer, byteSize: 64, memoryType: "CPU" });
    for (const each of [memory, memory.subarray(1)]) {
      const post = () => structuredClone(each);
      expect(post).toThrow(expect.objectContaining({ name: "DataCloneError" }));
    }
  });
});

test("an AllocatedMemory is a MutableMemory", () => {
  createManagers();
  using memory = memoryOf("GPU", 64);
  expect(memory).toBeInstanceOf(MutableMemory);
});

describe("a part of a memory", () => {
  const types = ["GPU", "CPU_PINNED"] as const;

  test.each(types)("shares its bytes: %s", async (type) => {
    createManagers();
    using memory = memoryOf(type, 9 * mebibyte);
    memory.fill(0);
    using part = memory.subarray(mebibyte, 7 * mebibyte);
    expect(part).toBeInstanceOf(MutableMemory);
    expect(part).not.toBeInstanceOf(AllocatedMemory);
    expect(part).toMatchObject({
      totalByteSize: 6 * mebibyte,
      bufferCount: 1,
      memoryType: type,
      memoryTypeId: memory.memoryTypeId,
    });
    expect(part.pointer! - memory.pointer!).toBe(mebibyte);
    part.fill(1);
    const filled = contentOf(memory);
    expect(filled.indexOf(1)).toBe(mebibyte);
    expect(filled.lastIndexOf(1)).toBe(7 * mebibyte - 1);
    await part.writeAsync(patternBytes(6 * mebibyte));
    expectSame(contentOf(memory).subarray(mebibyte, 7 * mebibyte), patternBytes(6 * mebibyte));
    const back = new Uint8Array(6 * mebibyte);
    await part.readAsync(back);
    expectSame(back, patternBytes(6 * mebibyte));
    using stream = new CudaStream(gpu);
    using onGpu = memoryOf("GPU", mebibyte);
    copyBuffer(onGpu, part.subarray(-mebibyte), { stream });
    await stream.finished();
    expectSame(contentOf(onGpu), back.subarray(-mebibyte));
    expectMemoryError("INVALID_ARG", () => part.write(new Uint8Array(2), 6 * mebibyte - 1));
    expectMemoryError("INVALID_ARG", () =>
      copyBuffer(onGpu, part, { sourceOffset: 5 * mebibyte + 1, byteSize: mebibyte }),
    );
  });

  test("lies where a typed array's part lies, and nowhere outside", () => {
    createManagers();
    using memory = memoryOf("CPU_PINNED", 10);
    const array = Uint8Array.from({ length: 10 }, (_, i) => i);
    memory.write(array);
    for (let begin = -10; begin <= 10; begin++) {
      expect(contentOf(memory.subarray(begin))).toEqual(array.subarray(begin));
      for (let end = -10; end <= 10; end++) {
        expect(contentOf(memory.subarray(begin, end))).toEqual(array.subarray(begin, end));
      }
    }
    expect(memory.subarray(undefined, undefined).totalByteSize).toBe(10);
    for (const index of [
      11,
      -11,
      2 ** 53,
      ...notWholeNumbers.filter((value) => value !== undefined && value !== -1),
    ]) {
      expectMemoryError("INVALID_ARG", () => memory.subarray(untyped(index)));
      expectMemoryError("INVALID_ARG", () => memory.subarray(0, untyped(index)));
    }
    const part = memory.subarray(2, 8);
    expect(contentOf(part.subarray(-2))).toEqual(array.subarray(6, 8));
    expectMemoryError("INVALID_ARG", () => part.subarray(0, 7));
  });

  test.each(types)(
    "is unavailable once its memory is freed, whatever it is asked for: %s",
    async (type) => {
      createManagers();
      const memory = memoryOf(type, 4096);
      const part = memory.subarray(1024, 2048);
      const partOfPart = part.subarray(0, 10);
      const empty = memory.subarray(5, 5);
      if (type === "CPU_PINNED") expect(part.bytes).toHaveLength(1024);
      memory.free();
      using target = memoryOf("CPU_PINNED", 4096);
      for (const each of [part, partOfPart, empty]) {
        for (const use of [
          () => each.bytes,
          () => each.fill(0),
          () => each.write(new Uint8Array(0)),
          () => each.read(new Uint8Array(0)),
          () => each.subarray(),
          () => copyBuffer(target, each),
          () => copyBuffer(each, target, { byteSize: 0 }),
        ]) {
          expect(expectMemoryError("UNAVAILABLE", use)).toContain("was freed");
        }
        expect((await rejectionOf(each.writeAsync(new Uint8Array(0)))).code).toBe("UNAVAILABLE");
        expect((await rejectionOf(each.readAsync(new Uint8Array(0)))).code).toBe("UNAVAILABLE");
        expect((await rejectionOf(each.holdUntil(Promise.resolve()))).code).toBe("UNAVAILABLE");
        expect(each).toMatchObject({ totalByteSize: 0, bufferCount: 0, pointer: null });
        expect(each.bufferAt(0)).toBeNull();
        expect(Bun.inspect(each)).toBe("MutableMemory { was freed }");
        each.free();
      }
    },
  );

  test("is unavailable after a reset, and once the memory is detached or a part between is freed", () => {
    createManagers();
    using memory = memoryOf("CPU_PINNED", 4096);
    const part = memory.subarray(1024);
    const partOfPart = part.subarray(1024);
    part.free();
    expectMemoryError("UNAVAILABLE", () => partOfPart.fill(0));
    memory.fill(1);
    const another = memory.subarray(1);
    PinnedMemoryManager.reset();
    expectMemoryError("UNAVAILABLE", () => another.fill(0));
    expectMemoryError("UNAVAILABLE", () => another.bytes);
    CudaMemoryManager.reset();
    createManagers();
    const other = memoryOf("GPU", 512);
    const partOfOther = other.subarray(256);
    AllocatedMemory.attach(other.detach()).free();
    expect(expectMemoryError("UNAVAILABLE", () => partOfOther.fill(0))).toContain("detached");
  });

  test("never touches what has its block next", () => {
    createManagers({ cudaByteSize: 512 });
    const memory = memoryOf("GPU", 512);
    const { pointer } = memory;
    const part = memory.subarray(128);
    memory.free();
    using next = memoryOf("GPU", 512);
    expect(next.pointer).toBe(pointer!);
    next.fill(1);
    expectMemoryError("UNAVAILABLE", () => part.fill(2));
    expect(contentOf(next).every((byte) => byte === 1)).toBeTrue();
  });

  test("has bytes that are a part of the memory's, and go with it", () => {
    createManagers();
    const memory = memoryOf("CPU_PINNED", 4096);
    const part = memory.subarray(1000, 2000);
    const { bytes } = part;
    expect(part.bytes).toBe(bytes);
    expect(bytes.buffer).toBe(memory.bytes.buffer);
    bytes.fill(5);
    expect(contentOf(memory).subarray(999, 1001)).toEqual(Uint8Array.of(memory.bytes[999]!, 5));
    memory.free();
    expect(bytes).toHaveLength(0);
  });

  test("keeps its memory, also where only its bytes are held", async () => {
    createManagers();
    const partOfDropped = () => memoryOf("CPU_PINNED", 4096).subarray(100);
    const parts = Array.from({ length: 20 }, partOfDropped);
    for (let i = 0; i < 3; i++) {
      await Bun.sleep(1);
      Bun.gc(true);
    }
    for (const part of parts) part.fill(1);
    const views = parts.map((part) => part.bytes);
    parts.length = 0;
    for (let i = 0; i < 3; i++) {
      await Bun.sleep(1);
      Bun.gc(true);
    }
    expect(views.every((bytes) => bytes.length === 3996 && bytes[3995] === 1)).toBeTrue();
    expect(PinnedMemoryManager.stats().allocationCount).toBe(20);
    views.length = 0;
    await untilCollected(() => PinnedMemoryManager.stats().allocationCount < 5);
    logged.warn.length = 0;
  });

  test("keeps its memory in use by transfers and holds", async () => {
    createManagers();
    const memory = memoryOf("GPU", 16 * mebibyte);
    const part = memory.subarray(mebibyte);
    const transfer = rejectionOf(part.writeAsync(new Uint8Array(15 * mebibyte)));
    memory.free();
    expect((await transfer).code).toBe("UNAVAILABLE");
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
    const host = memoryOf("CPU_PINNED", 4096);
    const { promise, resolve } = Promise.withResolvers<void>();
    const hold = host.subarray(1, 2).holdUntil(promise);
    host.free();
    expect(PinnedMemoryManager.stats().allocationCount).toBe(1);
    resolve();
    await hold;
    expect(PinnedMemoryManager.stats().allocationCount).toBe(0);
  });

  test("is not copied to another that overlaps", () => {
    createManagers();
    for (const type of types) {
      using memory = memoryOf(type, 1000);
      const [left, right] = [memory.subarray(0, 501), memory.subarray(500)];
      expectMemoryError("INVALID_ARG", () =>
        copyBuffer(right, left, { byteSize: 500, sourceOffset: 1 }),
      );
      expectMemoryError("INVALID_ARG", () => copyBuffer(memory, right, { targetOffset: 1 }));
      memory.write(patternBytes(1000));
      copyBuffer(right, left, { byteSize: 500 });
      expectSame(contentOf(memory).subarray(500), patternBytes(1000).subarray(0, 500));
    }
  });

  test("moves within its memory as the synchronous functions move it", async () => {
    createManagers();
    const byteSize = 9 * mebibyte;
    using memory = memoryOf("CPU_PINNED", byteSize + 5);
    for (const [from, to] of [
      [0, 5],
      [5, 0],
    ] as const) {
      memory.write(patternBytes(byteSize + 5));
      const wanted = patternBytes(byteSize + 5).copyWithin(to, from, from + byteSize);
      await memory
        .subarray(to, to + byteSize)
        .writeAsync(memory.subarray(from, from + byteSize).bytes);
      expectSame(memory.bytes, wanted);
    }
  });

  test("of memory that somebody else owns goes with that", () => {
    const { bytes, pointer } = ownBytes(64);
    const memory = new MutableMemory({ pointer, byteSize: 64, memoryType: "CPU" });
    const part = memory.subarray(8, 16);
    part.fill(1);
    expect([bytes[7], bytes[8], bytes[15], bytes[16]]).toEqual([0, 1, 1, 0]);
    expect(part.bytes).toHaveLength(8);
    part.free();
    expectMemoryError("UNAVAILABLE", () => part.fill(2));
    const another = memory.subarray(8, 16);
    memory.free();
    expectMemoryError("UNAVAILABLE", () => another.fill(2));
    expect(bytes[8]).toBe(1);
  });
});
