import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectSame, rejectionOf } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf, usedByteSize } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

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
  const create = () => createManagers(type === "CPU" ? { pinnedByteSize: 0 } : {});

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

  test("takes bytes before the work that is queued on the stream afterwards", async () => {
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

  test("freed while bytes move returns to its pool when the transfer ends", async () => {
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

  test("fails the transfer where its manager is reset while bytes move", async () => {
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
  test("finishes where the memory is freed with its stream meanwhile", async () => {
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
    await memory.writeAsync(new SharedArrayBuffer(8), 0);
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
      createManagers({ pinnedByteSize: byteSize });
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
        // A transfer can do without pinned memory, so its request does not count as failed.
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
    createManagers({ pinnedByteSize: 8 * mebibyte }); // too little to stage all of them at once
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
      expect(turns).toBeGreaterThanOrEqual(7); // of eight pieces, only the first moves at once
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
    expect(turns).toBeGreaterThanOrEqual(10); // the transfers are spread over many turns
  });
});
