import { describe, expect, test } from "bun:test";
import { open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AllocatedMemory, CudaMemoryManager, PinnedMemoryManager } from "../../src/index.ts";
import { expectMemoryError, expectSame, rejectionOf } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

const pieceByteSize = 4 * mebibyte;

describe("bytes", () => {
  test("are the memory itself, and always the same view", () => {
    createManagers();
    using memory = memoryOf("CPU_PINNED", 1000);
    memory.fill(3);
    const { bytes } = memory;
    expect(bytes).toHaveLength(1000);
    expect(bytes.every((byte) => byte === 3)).toBeTrue();
    expect(memory.bytes).toBe(bytes);
    bytes.set([1, 2, 3], 500);
    expect(contentOf(memory).subarray(500, 503)).toEqual(Uint8Array.of(1, 2, 3));
    memory.write(Uint8Array.of(9), 999);
    expect(bytes[999]).toBe(9);
    // Overlapping ranges are copied as if by way of another buffer.
    memory.write(bytes.subarray(500, 600), 501);
    expect(bytes.subarray(500, 504)).toEqual(Uint8Array.of(1, 1, 2, 3));
  });

  test("move within their memory as the synchronous functions move them", async () => {
    createManagers();
    const byteSize = 3 * pieceByteSize;
    using memory = memoryOf("CPU_PINNED", byteSize);
    using wanted = memoryOf("CPU_PINNED", byteSize);
    const [low, high] = [0, mebibyte + 5];
    const part = (of: AllocatedMemory, offset: number) =>
      of.bytes.subarray(offset, offset + byteSize - high);
    for (const [from, to] of [
      [low, high],
      [high, low],
    ] as const) {
      for (const way of ["write", "read"] as const) {
        for (const each of [memory, wanted]) each.write(patternBytes(byteSize));
        const [view, offset] = way === "write" ? [from, to] : [to, from];
        wanted[way](part(wanted, view), offset);
        await memory[`${way}Async`](part(memory, view), offset);
        expectSame(memory.bytes, wanted.bytes);
      }
    }
  });

  test("that a transfer reads or writes are not given to others until it is over", async () => {
    for (const byteSize of [16 * mebibyte, 9 * mebibyte, 32 * mebibyte]) {
      // Beside the 9 MiB, only the largest pool has room to stage the transfer.
      createManagers({ pinnedByteSize: byteSize });
      using memory = memoryOf("GPU", 9 * mebibyte);
      const host = memoryOf("CPU_PINNED", 9 * mebibyte);
      const transfer = rejectionOf(memory.readAsync(host.bytes));
      host.free();
      expect(PinnedMemoryManager.stats().usedByteSize).toBeGreaterThanOrEqual(9 * mebibyte);
      expect((await transfer).code).toBe("INVALID_ARG");
      expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
      memory.free();
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
    }
  });

  test("are gone once the memory is", () => {
    createManagers();
    const memory = memoryOf("CPU_PINNED", 1000);
    const { bytes } = memory;
    const part = bytes.subarray(10, 20);
    memory.free();
    expect([bytes.length, part.length]).toEqual([0, 0]);
    expectMemoryError("UNAVAILABLE", () => memory.bytes);
    expect(bytes[0]).toBeUndefined();
    memory.free();
  });

  test("that were transferred to another buffer keep the memory", async () => {
    createManagers();
    const memory = memoryOf("CPU_PINNED", 4096);
    const { bytes } = memory;
    bytes.fill(7);
    let moved: ArrayBuffer | null = bytes.buffer.transfer();
    memory.free();
    expectMemoryError("UNAVAILABLE", () => memory.bytes);
    // Whoever comes next gets other memory.
    using next = memoryOf("CPU_PINNED", 4096);
    next.fill(9);
    expect(new Uint8Array(moved).every((byte) => byte === 7)).toBe(true);
    expect(PinnedMemoryManager.stats().allocationCount).toBe(2);
    moved = null;
    for (let i = 0; i < 50 && PinnedMemoryManager.stats().allocationCount > 1; i++) {
      Bun.gc(true);
      await Bun.sleep(2);
    }
    expect(PinnedMemoryManager.stats().allocationCount).toBe(1);
  });

  test("are not handed on by way of the pointer either", () => {
    createManagers();
    const memory = memoryOf("CPU_PINNED", 4096);
    const { bytes } = memory;
    bytes.fill(7);
    PinnedMemoryManager.free(memory.pointer!);
    using next = memoryOf("CPU_PINNED", 4096);
    next.fill(9);
    expect(bytes.every((byte) => byte === 7)).toBe(true);
    expectMemoryError("INVALID_ARG", () => memory.free());
  });

  test("that a file is read into are not given to others until the read is over", async () => {
    createManagers();
    const path = join(tmpdir(), `bun-cuda-memory-${process.pid}`);
    await Bun.write(path, new Uint8Array(16 * mebibyte).fill(7));
    const file = await open(path);
    try {
      const memory = memoryOf("CPU_PINNED", 16 * mebibyte);
      const { bytes } = memory;
      const read = file.read(bytes, 0, bytes.length, 0);
      memory.free();
      expect(memory.totalByteSize).toBe(0);
      expectMemoryError("UNAVAILABLE", () => memory.bytes);
      if (bytes.length > 0) expect(PinnedMemoryManager.stats().allocationCount).toBe(1);
      expect((await read).bytesRead).toBe(16 * mebibyte);
      for (let i = 0; i < 2000 && bytes.length > 0; i++) await Bun.sleep(1);
      expect(bytes).toHaveLength(0);
      expect(PinnedMemoryManager.stats().allocationCount).toBe(0);
    } finally {
      await file.close();
      await rm(path);
    }
  });

  test("are gone once the manager is", () => {
    for (const byteSize of [4096, 0]) {
      createManagers({ pinnedByteSize: byteSize });
      const memory = new AllocatedMemory(1000, "CPU");
      const { bytes } = memory;
      const later = new AllocatedMemory(1000, "CPU");
      PinnedMemoryManager.reset();
      expect(bytes).toHaveLength(0);
      expectMemoryError("UNAVAILABLE", () => later.bytes);
      PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 4096 });
      expectMemoryError("UNAVAILABLE", () => memory.bytes);
      expectMemoryError("UNAVAILABLE", () => later.bytes);
      memory.free();
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
    }
  });

  test("are not available for a GPU's memory, and are empty for an empty memory", () => {
    createManagers();
    using memory = memoryOf("GPU", 1000);
    expect(expectMemoryError("UNSUPPORTED", () => memory.bytes)).toContain(`GPU ${gpu}`);
    expect(new AllocatedMemory(0, "CPU").bytes).toHaveLength(0);
  });

  test("keep their memory from being garbage collected", async () => {
    createManagers();
    const views = Array.from({ length: 50 }, () => {
      const { bytes } = memoryOf("CPU_PINNED", 512);
      return bytes.fill(5).subarray(1);
    });
    for (let i = 0; i < 5; i++) {
      Bun.gc(true);
      await Bun.sleep(1);
    }
    expect(PinnedMemoryManager.stats().allocationCount).toBe(50);
    expect(views.every((view) => view.every((byte) => byte === 5))).toBeTrue();
  });
});

describe("views outlive a reset by another thread", () => {
  test.each(["CPU_PINNED", "CPU"] as const)("of %s memory", async (memoryType) => {
    const pinnedByteSize = memoryType === "CPU" ? 0 : 4 * mebibyte;
    createManagers({ pinnedByteSize });
    const memory = memoryOf(memoryType, 4096);
    const { bytes } = memory;
    bytes.fill(7);
    const worker = new Worker(new URL("./reset-worker.ts", import.meta.url));
    await new Promise((resolve) => (worker.onmessage = resolve));
    worker.terminate();

    bytes.fill(8); // It is still mapped, and nobody else's.
    expectMemoryError("UNAVAILABLE", () => memory.bytes);
    expectMemoryError("UNAVAILABLE", () => memory.fill(1));
    createManagers({ pinnedByteSize });
    const setAsideByteSize = memoryType === "CPU" ? 4096 : 4 * mebibyte;
    expect(PinnedMemoryManager.stats().setAsideByteSize).toBe(setAsideByteSize);
    using next = memoryOf(memoryType, 4096);
    next.fill(9);
    expect(bytes.every((byte) => byte === 8)).toBe(true);
    bytes.buffer.transfer(0); // nobody has the bytes any more
    expect(PinnedMemoryManager.stats().setAsideByteSize).toBe(0);
  });
});

describe("memory that is held until a promise settles", () => {
  test.each(["CPU_PINNED", "GPU"] as const)(
    "is %s memory in use until then",
    async (memoryType) => {
      createManagers();
      const { promise, resolve } = Promise.withResolvers<string>();
      const memory = memoryOf(memoryType, 4096);
      const held = memory.holdUntil(promise);
      memory.free();
      const { stats } = memoryType === "GPU" ? CudaMemoryManager : PinnedMemoryManager;
      expect(stats(gpu).allocationCount).toBe(1);
      resolve("done");
      expect(await held).toBe("done");
      expect(stats(gpu).allocationCount).toBe(0);
    },
  );

  test("is set aside by a reset", async () => {
    createManagers({ pinnedByteSize: mebibyte });
    const { promise, reject } = Promise.withResolvers<string>();
    const memory = memoryOf("CPU_PINNED", 4096);
    const held = rejectionOf(memory.holdUntil(promise));
    PinnedMemoryManager.reset();
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: mebibyte });
    expect(PinnedMemoryManager.stats().setAsideByteSize).toBe(mebibyte);
    reject(new Error("the promise's"));
    expect((await held).message).toBe("the promise's");
    expect(PinnedMemoryManager.stats().setAsideByteSize).toBe(0);
  });

  test("needs a promise", async () => {
    createManagers();
    using memory = memoryOf("CPU_PINNED", 512);
    for (const promise of [null, 5, {}, () => {}]) {
      const error = await rejectionOf(memory.holdUntil(promise as never));
      expect(error).toMatchObject({ code: "INVALID_ARG" });
    }
  });
});
