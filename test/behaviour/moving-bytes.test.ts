import { describe, expect, test } from "bun:test";
import { open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  type MemoryError,
  type MemoryType,
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

const [gpu = 0] = gpus;
const mebibyte = 1024 ** 2;

/** Pools of 64 MiB; without pinned memory where `pinnedByteSize` is 0. */
function createManagers(pinnedByteSize = 64 * mebibyte): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 64 * mebibyte } });
}

/** Memory of exactly this type; `"CPU"` is what is got where there is no pinned pool. */
function memoryOf(type: MemoryType, byteSize: number): AllocatedMemory {
  const memory = new AllocatedMemory(byteSize, type, type === "GPU" ? gpu : 0);
  expect(memory.memoryType).toBe(type);
  return memory;
}

function contentOf(memory: AllocatedMemory): Uint8Array {
  const bytes = new Uint8Array(memory.totalByteSize);
  memory.read(bytes);
  return bytes;
}

function expectSame(got: Uint8Array, wanted: Uint8Array): void {
  expect(Buffer.compare(got, wanted)).toBe(0); // toEqual takes seconds for some megabytes
}

async function rejectionOf(promise: Promise<unknown>): Promise<MemoryError> {
  try {
    await promise;
  } catch (error) {
    return error as MemoryError;
  }
  throw new Error("it was not rejected");
}

function usedByteSize(): number {
  const pinned = PinnedMemoryManager.stats().usedByteSize;
  return CudaMemoryManager.stats(gpu).usedByteSize + pinned;
}

const pieceByteSize = 4 * mebibyte;
const byteSizes = [
  1,
  4095,
  pieceByteSize - 1,
  pieceByteSize,
  pieceByteSize + 1,
  2 * pieceByteSize,
  2 * pieceByteSize + 3,
  5 * pieceByteSize + 7,
];

describe.each(["GPU", "CPU_PINNED", "CPU"] as const)("%s memory", (type) => {
  const create = () => createManagers(type === "CPU" ? 0 : undefined);

  test.each(byteSizes)("takes and gives %d bytes asynchronously", async (byteSize) => {
    create();
    using memory = memoryOf(type, byteSize + 1024);
    memory.fill(7);
    const bytes = patternBytes(byteSize);
    await memory.writeAsync(bytes, 512);
    const back = new Uint8Array(byteSize).fill(1);
    await memory.readAsync(back, 512);
    expectSame(back, bytes);
    const whole = contentOf(memory);
    expect(whole.subarray(0, 512).every((byte) => byte === 7)).toBeTrue();
    expect(whole.subarray(512 + byteSize).every((byte) => byte === 7)).toBeTrue();
  });

  test("does the same on a stream, one transfer after the other", async () => {
    create();
    using stream = new CudaStream(gpu);
    using memory = memoryOf(type, 9 * mebibyte);
    const [first, second] = [patternBytes(9 * mebibyte, 1), patternBytes(9 * mebibyte, 2)];
    const back = new Uint8Array(9 * mebibyte);
    const transfers = [
      memory.writeAsync(first, 0, { stream }),
      memory.writeAsync(second, 0, { stream }),
      memory.readAsync(back, 0, { stream }),
    ];
    expect(stream.isDone()).toBeFalse();
    await stream.finished();
    await Promise.all(transfers);
    expect(stream.isDone()).toBeTrue();
    expectSame(back, second);
  });

  test("takes bytes before what is queued on the stream after", async () => {
    create();
    using stream = new CudaStream(gpu);
    using memory = memoryOf(type, 1000);
    using copy = memoryOf(type, 1000);
    const bytes = patternBytes(1000);
    const transfer = memory.writeAsync(bytes, 0, { stream });
    if (type !== "GPU") await transfer;
    copyBuffer(copy, memory, { stream });
    await stream.finished();
    expectSame(contentOf(copy), bytes);
    await transfer;
  });

  test("is filled", () => {
    create();
    using memory = memoryOf(type, 5000);
    memory.fill(0xab);
    expect(contentOf(memory).every((byte) => byte === 0xab)).toBeTrue();
    memory.fill(0);
    expect(contentOf(memory).every((byte) => byte === 0)).toBeTrue();
    for (const byte of [...notWholeNumbers, 256]) {
      expectMemoryError("INVALID_ARG", () => memory.fill(untyped(byte)));
    }
    expect(contentOf(memory).every((byte) => byte === 0)).toBeTrue();
  });

  test("that is freed while bytes move is given back when that is over", async () => {
    create();
    const memory = memoryOf(type, 24 * mebibyte);
    const transfer = rejectionOf(memory.writeAsync(patternBytes(24 * mebibyte)));
    memory.free();
    expect(memory.totalByteSize).toBe(0);
    if (type !== "CPU") expect(usedByteSize()).toBeGreaterThanOrEqual(24 * mebibyte);
    const { code, message } = await transfer;
    expect(code).toBe("UNAVAILABLE");
    expect(message).toMatch(/^writeAsync of 25165824 bytes .*freed meanwhile$/);
    expect(usedByteSize()).toBe(0);
  });

  test("that goes with its manager while bytes move is an error", async () => {
    create();
    using memory = memoryOf(type, 24 * mebibyte);
    const bytes = new Uint8Array(24 * mebibyte);
    const transfer = rejectionOf(memory.readAsync(bytes));
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    expect((await transfer).code).toBe("UNAVAILABLE");
    createManagers();
    expect(usedByteSize()).toBe(0);
  });
});

describe("an asynchronous transfer", () => {
  test("is finished where the memory is freed with its stream meanwhile", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    const memory = memoryOf("GPU", 24 * mebibyte);
    const bytes = patternBytes(24 * mebibyte);
    const back = new Uint8Array(24 * mebibyte);
    const transfers = [
      memory.writeAsync(bytes, 0, { stream }),
      memory.readAsync(back, 0, { stream }),
    ];
    memory.free(stream);
    await Promise.all(transfers);
    expectSame(back, bytes);
    await stream.finished();
    expect(usedByteSize()).toBe(0);
  });

  test("takes any view of any buffer", async () => {
    createManagers();
    using memory = memoryOf("GPU", 64);
    const numbers = Float64Array.from([1, 2, 3, 4]);
    await memory.writeAsync(numbers.subarray(1, 3), 8);
    const view = new DataView(new ArrayBuffer(32), 8, 16);
    await memory.readAsync(view, 8);
    expect(view.getFloat64(0, true)).toBe(2);
    expect(view.getFloat64(8, true)).toBe(3);
    await memory.writeAsync(new ArrayBuffer(0), 64);
    await memory.writeAsync(new SharedArrayBuffer(8) as unknown as ArrayBuffer, 0);
  });

  test("is refused before a byte moves where an argument is wrong", async () => {
    createManagers();
    using memory = memoryOf("GPU", 64);
    memory.fill(9);
    const bytes = new Uint8Array(64);
    const disposed = new CudaStream(gpu);
    disposed[Symbol.dispose]();
    const wrong: [unknown, unknown, unknown][] = [
      ...notWholeNumbers
        .filter((offset) => offset !== undefined)
        .map((offset): [unknown, unknown, unknown] => [bytes, offset, undefined]),
      [bytes, 1, undefined],
      [new Uint8Array(65), 0, undefined],
      ["text", 0, undefined],
      [null, 0, undefined],
      [bytes, 0, 5],
      [bytes, 0, { stream: {} }],
      [bytes, 0, { stream: null }],
      [bytes, 0, { stream: disposed }],
    ];
    for (const [source, offset, options] of wrong) {
      for (const way of ["writeAsync", "readAsync"] as const) {
        const moved = memory[way](untyped(source), untyped(offset), untyped(options));
        expect((await rejectionOf(moved)).code).toBe("INVALID_ARG");
      }
    }
    expect(contentOf(memory).every((byte) => byte === 9)).toBeTrue();
  });

  test("works where the pinned pool is full, or there is none", async () => {
    for (const byteSize of [0, 1024]) {
      createManagers(byteSize);
      using blocker = new AllocatedMemory(1024, "CPU_PINNED");
      using memory = memoryOf("GPU", 9 * mebibyte);
      using stream = new CudaStream(gpu);
      for (const options of [undefined, { stream }]) {
        const bytes = patternBytes(9 * mebibyte, byteSize + 2);
        const { failedAllocationCount } = PinnedMemoryManager.stats();
        await memory.writeAsync(bytes, 0, options);
        const back = new Uint8Array(9 * mebibyte);
        await memory.readAsync(back, 0, options);
        expectSame(back, bytes);
        // What a transfer can do without is no failed request.
        expect(PinnedMemoryManager.stats().failedAllocationCount).toBe(failedAllocationCount);
      }
      blocker.free();
      memory.free();
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
    }
  });

  test("notices that its buffer was detached", async () => {
    createManagers();
    using memory = memoryOf("GPU", 24 * mebibyte);
    for (const way of ["writeAsync", "readAsync"] as const) {
      const bytes = new Uint8Array(24 * mebibyte);
      const transfer = rejectionOf(memory[way](bytes));
      bytes.buffer.transfer();
      const { code, message } = await transfer;
      expect(code).toBe("INVALID_ARG");
      expect(message).toContain("detached");
    }
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
  });

  test("moves what its buffer had at the call, also where that grows or shrinks", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    for (const type of ["GPU", "CPU_PINNED"] as const) {
      using memory = memoryOf(type, 1024);
      using next = memoryOf(type, 1024);
      for (const way of ["writeAsync", "readAsync"] as const) {
        for (const buffer of [
          new ArrayBuffer(1024, { maxByteLength: 4096 }),
          new SharedArrayBuffer(1024, { maxByteLength: 4096 }),
        ]) {
          memory.fill(1);
          next.fill(1);
          const first = memory.readAsync(new Uint8Array(1024), 0, { stream });
          const transfer = memory[way](untyped(buffer), 0, { stream });
          if (buffer instanceof ArrayBuffer) buffer.resize(4096);
          else buffer.grow(4096);
          const bytes = new Uint8Array(buffer).fill(5);
          await Promise.all([first, transfer]);
          expect(contentOf(next).every((byte) => byte === 1)).toBeTrue();
          expect(bytes.subarray(1024).every((byte) => byte === 5)).toBeTrue();
        }
      }
      const shrinking = new ArrayBuffer(1024, { maxByteLength: 4096 });
      const first = memory.readAsync(new Uint8Array(1024), 0, { stream });
      const transfer = rejectionOf(memory.writeAsync(shrinking, 0, { stream }));
      shrinking.resize(100);
      expect((await transfer).code).toBe("INVALID_ARG");
      await first;
    }
  });

  test("comes to the right bytes among many at once, and leaves nothing behind", async () => {
    createManagers(8 * mebibyte); // not enough for all to be staged
    const byteSizeOf = (i: number) => 1 + i * 30_011;
    const memories = Array.from({ length: 40 }, (_, i) => memoryOf("GPU", byteSizeOf(i)));
    await Promise.all(
      memories.map(async (memory, i) => {
        const bytes = patternBytes(byteSizeOf(i), i + 1);
        await memory.writeAsync(bytes);
        const back = new Uint8Array(byteSizeOf(i));
        await memory.readAsync(back);
        expectSame(back, bytes);
      }),
    );
    for (const memory of memories) memory.free();
    expect(usedByteSize()).toBe(0);
  });

  test("lets the event loop go on", async () => {
    createManagers();
    using memory = memoryOf("GPU", 32 * mebibyte);
    const bytes = new Uint8Array(32 * mebibyte);
    for (const way of ["writeAsync", "readAsync"] as const) {
      let turns = 0;
      const count = () => {
        turns++;
        immediate = setImmediate(count);
      };
      let immediate = setImmediate(count);
      await memory[way](bytes);
      clearImmediate(immediate);
      expect(turns).toBeGreaterThanOrEqual(7); // of eight pieces none but the first is at once
    }
  });

  test("lets the event loop go on beside many others", async () => {
    createManagers();
    using memory = memoryOf("CPU_PINNED", 8 * mebibyte);
    const bytes = new Uint8Array(8 * mebibyte);
    const transfers = Promise.all(Array.from({ length: 40 }, () => memory.writeAsync(bytes)));
    let isOver = false;
    void transfers.then(() => {
      isOver = true;
    });
    let turns = 0;
    for (; !isOver; turns++) await new Promise((resolve) => void setImmediate(resolve));
    expect(turns).toBeGreaterThanOrEqual(10); // not all of them in the same two turns
  });
});

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
    // Of overlapping ranges too, whichever is first.
    memory.write(bytes.subarray(500, 600), 501);
    expect(bytes.subarray(500, 504)).toEqual(Uint8Array.of(1, 1, 2, 3));
  });

  test("move within their memory as they do at once", async () => {
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

  test("that a transfer reads or writes stay nobody else's until that is over", async () => {
    for (const byteSize of [16 * mebibyte, 9 * mebibyte]) {
      // Too little for the transfer to be staged, and enough.
      createManagers(byteSize);
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
    expect([bytes.length, part.length, memory.bytes.length]).toEqual([0, 0, 0]);
    expect(bytes[0]).toBeUndefined();
    memory.free();
  });

  test("that a file is read into stay nobody else's until that is over", async () => {
    createManagers();
    const path = join(tmpdir(), `bun-cuda-memory-${process.pid}`);
    await Bun.write(path, new Uint8Array(16 * mebibyte).fill(7));
    const file = await open(path);
    try {
      const memory = memoryOf("CPU_PINNED", 16 * mebibyte);
      const { bytes } = memory;
      const read = file.read(bytes, 0, bytes.length, 0);
      memory.free();
      expect([memory.totalByteSize, memory.bytes.length]).toEqual([0, 0]);
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
      createManagers(byteSize);
      const memory = new AllocatedMemory(1000, "CPU");
      const { bytes } = memory;
      const later = new AllocatedMemory(1000, "CPU");
      PinnedMemoryManager.reset();
      expect(bytes).toHaveLength(0);
      expectMemoryError("UNAVAILABLE", () => later.bytes);
      PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 4096 });
      expect(memory.bytes).toHaveLength(0);
      expectMemoryError("UNAVAILABLE", () => later.bytes);
      memory.free();
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
    }
  });

  test("of a GPU's memory cannot be had, and of none are none", () => {
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

describe("copyBuffer", () => {
  test("refuses what is no offset and no size, and copies nothing", () => {
    createManagers();
    using source = memoryOf("CPU_PINNED", 64);
    using target = memoryOf("CPU_PINNED", 64);
    source.fill(1);
    target.fill(2);
    for (const name of ["targetOffset", "sourceOffset", "byteSize"]) {
      for (const value of notWholeNumbers.filter((value) => value !== undefined)) {
        expectMemoryError("INVALID_ARG", () =>
          copyBuffer(target, source, untyped({ [name]: value })),
        );
      }
    }
    expect(target.bytes.every((byte) => byte === 2)).toBeTrue();
  });

  test("sees a memory as its options leave it", () => {
    createManagers();
    using source = memoryOf("CPU_PINNED", 64);
    const target = memoryOf("CPU_PINNED", 64);
    const options = {
      get targetOffset() {
        target.free();
        return 0;
      },
    };
    expectMemoryError("INVALID_ARG", () => copyBuffer(target, source, options));
  });
});

describe("copyBuffer on a stream", () => {
  const types = ["GPU", "CPU_PINNED", "CPU"] as const;

  test.each(types.flatMap((to) => types.map((from) => [from, to] as const)))(
    "copies from %s to %s",
    async (from, to) => {
      PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 2048 });
      CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 64 * mebibyte } });
      using stream = new CudaStream(gpu);
      const of = (type: MemoryType) => {
        if (type !== "CPU") return memoryOf(type, 1024);
        using _half = new AllocatedMemory(1024, "CPU_PINNED");
        using _otherHalf = new AllocatedMemory(1024, "CPU_PINNED");
        return memoryOf("CPU", 1024);
      };
      using source = of(from);
      using target = of(to);
      const bytes = patternBytes(1024);
      source.write(bytes);
      const isQueued = copyBuffer(target, source, {
        sourceOffset: 24,
        targetOffset: 0,
        byteSize: 1000,
        stream,
      });
      expect(isQueued).toBe(from === "GPU" || to === "GPU");
      await stream.finished();
      expectSame(contentOf(target).subarray(0, 1000), bytes.subarray(24));
    },
  );

  test("does what is queued in its order", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using from = memoryOf("CPU_PINNED", 8 * mebibyte);
    using first = memoryOf("GPU", 8 * mebibyte);
    using second = memoryOf("GPU", 8 * mebibyte);
    using to = memoryOf("CPU_PINNED", 8 * mebibyte);
    from.bytes.set(patternBytes(8 * mebibyte));
    for (const [target, source] of [
      [first, from],
      [second, first],
      [to, second],
    ] as const) {
      expect(copyBuffer(target, source, { stream })).toBeTrue();
    }
    await stream.finished();
    expectSame(to.bytes, from.bytes);
  });

  test("is refused for what is no stream", () => {
    createManagers();
    using source = memoryOf("CPU_PINNED", 64);
    using target = memoryOf("GPU", 64);
    for (const stream of [null, 0, {}, CudaStream.prototype]) {
      expectMemoryError("INVALID_ARG", () =>
        copyBuffer(target, source, { stream: untyped(stream) }),
      );
    }
  });
});
