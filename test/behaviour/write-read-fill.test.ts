import { describe, expect, test } from "bun:test";
import { AllocatedMemory, copyBuffer, type MemoryType } from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, memoryOf } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

describe("write and read", () => {
  const byteSize = 70_000;
  const kinds = { GPU: [100_000, 0], CPU_PINNED: [0, 1024 ** 2], CPU: [0, 0] } as const;

  for (const [kind, [cudaByteSize, pinnedByteSize]] of Object.entries(kinds)) {
    test(`${kind}: what was written is read back exactly`, () => {
      createManagers({ cudaByteSize, pinnedByteSize });
      using memory = new AllocatedMemory(byteSize, "GPU", gpu);
      expect(memory.memoryType).toBe(kind as MemoryType);
      const written = patternBytes(byteSize);
      memory.write(written);
      const back = new Uint8Array(byteSize);
      memory.read(back);
      expect(Bun.hash(back)).toBe(Bun.hash(written));

      memory.write(Float64Array.of(1.5, -2), 8);
      const two = new Float64Array(2);
      memory.read(two, 8);
      expect([...two]).toEqual([1.5, -2]);
      memory.write(written.buffer.slice(0, 3), byteSize - 3);
      const last = new DataView(new ArrayBuffer(5), 1, 3);
      memory.read(last, byteSize - 3);
      expect([0, 1, 2].map((i) => last.getUint8(i))).toEqual([...written.subarray(0, 3)]);
    });

    test(`${kind}: out of range moves no byte`, () => {
      createManagers({ cudaByteSize, pinnedByteSize });
      using memory = new AllocatedMemory(byteSize, "GPU", gpu);
      memory.write(new Uint8Array(byteSize).fill(7));
      for (const offset of [byteSize - 9, byteSize, byteSize + 1, Number.MAX_SAFE_INTEGER]) {
        expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(10), offset));
        expectMemoryError("INVALID_ARG", () => memory.read(new Uint8Array(10), offset));
      }
      for (const value of notWholeNumbers.filter((value) => value !== undefined)) {
        expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(1), untyped(value)));
        expectMemoryError("INVALID_ARG", () => memory.read(new Uint8Array(1), untyped(value)));
      }
      for (const value of [null, undefined, "bytes", 5, [1]]) {
        expectMemoryError("INVALID_ARG", () => memory.write(untyped(value)));
        expectMemoryError("INVALID_ARG", () => memory.read(untyped(value)));
      }
      const back = new Uint8Array(byteSize);
      memory.read(back);
      expect(back.every((byte) => byte === 7)).toBe(true);
    });
  }

  test("buffers of every kind are sources and targets", async () => {
    createManagers();
    using memory = new AllocatedMemory(8, "GPU", gpu);
    const buffers = [
      new ArrayBuffer(8),
      new SharedArrayBuffer(8),
      new ArrayBuffer(8, { maxByteLength: 16 }),
      new SharedArrayBuffer(8, { maxByteLength: 16 }),
    ];
    for (const [seed, buffer] of buffers.entries()) {
      const written = patternBytes(8, seed + 1);
      new Uint8Array(buffer).set(written);
      memory.write(buffer);
      new Uint8Array(buffer).fill(0);
      memory.read(buffer);
      expect(new Uint8Array(buffer)).toEqual(written);

      await memory.writeAsync(new DataView(buffer));
      new Uint8Array(buffer).fill(0);
      await memory.readAsync(buffer);
      expect(new Uint8Array(buffer)).toEqual(written);
    }
  });

  test("empty memory takes and gives zero bytes, and no more", () => {
    createManagers();
    const memory = new AllocatedMemory(0, "GPU", gpu);
    expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(1)));
    memory.write(new Uint8Array(0));
    memory.read(new Uint8Array(0));
  });

  test("a subclass that overrides the properties cannot get bytes that are not the memory's", () => {
    createManagers({ cudaByteSize: 4096 });
    class Boastful extends AllocatedMemory {
      override get totalByteSize(): number {
        return 2 ** 30;
      }
    }
    using memory = new Boastful(64, "CPU");
    using other = new AllocatedMemory(64, "GPU", gpu);
    expectMemoryError("INVALID_ARG", () => memory.read(new Uint8Array(65)));
    expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(65)));
    expectMemoryError("INVALID_ARG", () => copyBuffer(other, memory, { byteSize: 65 }));
    expectMemoryError("INVALID_ARG", () => copyBuffer(memory, other, { targetOffset: 1 }));
    memory.free();
    expectMemoryError("UNAVAILABLE", () => memory.read(new Uint8Array(1)));
  });

  test("a detached buffer, and values that run code of their own, are refused", () => {
    createManagers({ cudaByteSize: 4096 });
    using memory = new AllocatedMemory(64, "GPU", gpu);
    const view = new Uint8Array(8);
    structuredClone(view.buffer, { transfer: [view.buffer] });
    expectMemoryError("INVALID_ARG", () => memory.write(view));
    expectMemoryError("INVALID_ARG", () => memory.read(view));
    const hostile = {
      toString: () => expect.unreachable(),
      valueOf: () => expect.unreachable(),
      get [Symbol.toStringTag]() {
        return expect.unreachable();
      },
    };
    for (const value of [hostile, Object.create(null), Symbol("x"), () => 1]) {
      expectMemoryError("INVALID_ARG", () => memory.write(new Uint8Array(1), untyped(value)));
      expectMemoryError("INVALID_ARG", () => memory.write(untyped(value)));
      expectMemoryError("INVALID_ARG", () => new AllocatedMemory(untyped(value), "GPU"));
      expectMemoryError("INVALID_ARG", () => new AllocatedMemory(1, untyped(value)));
    }
    const shared = new Uint8Array(new SharedArrayBuffer(4)).fill(3);
    memory.write(shared);
    memory.read(new Uint8Array(shared.buffer));
    expect([...shared]).toEqual([3, 3, 3, 3]);
  });
});

describe.each(["GPU", "CPU_PINNED", "CPU"] as const)("%s memory", (type) => {
  const create = () => createManagers(type === "CPU" ? { pinnedByteSize: 0 } : {});

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
});
