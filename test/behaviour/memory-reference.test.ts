// Several buffers that are copied as one.

import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  MemoryReference,
  type MutableMemory,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError, expectSame } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

const pieceByteSizes = [1, 4096, 100, 0, 65_536, 65_537, 200_000, 3, 4, 1000, 70_000, 12];
const totalByteSize = pieceByteSizes.reduce((sum, byteSize) => sum + byteSize);
const allBytes = patternBytes(totalByteSize, 5);

type Buffer = MutableMemory | Uint8Array;

/** The bytes in buffers of all kinds, one after another. */
function buffersOfAllKinds(first: number): Buffer[] {
  const makers: ((bytes: Uint8Array) => Buffer)[] = [
    (bytes) => bytes,
    (bytes) => memoryWith("CPU_PINNED", bytes),
    (bytes) => memoryWith("GPU", bytes),
    (bytes) => memoryWith("CPU_PINNED", Uint8Array.of(0, ...bytes)).subarray(1),
  ];
  let offset = 0;
  return pieceByteSizes.map((byteSize, i) => {
    const bytes = allBytes.slice(offset, (offset += byteSize));
    return makers[(first + i) % makers.length]!(bytes);
  });
}

const kept: AllocatedMemory[] = [];

function memoryWith(type: "GPU" | "CPU_PINNED", bytes: Uint8Array): AllocatedMemory {
  const memory = memoryOf(type, bytes.byteLength);
  memory.write(bytes);
  kept.push(memory);
  return memory;
}

function freeKept(): void {
  for (const memory of kept.splice(0)) memory.free();
}

function referenceTo(buffers: readonly Buffer[]): MemoryReference {
  const reference = new MemoryReference();
  for (const buffer of buffers) reference.append(buffer);
  return reference;
}

describe("a reference", () => {
  test("tells what it is made up of", () => {
    createManagers();
    using memory = memoryOf("GPU", 100);
    using part = memory.subarray(20, 50);
    const reference = new MemoryReference();
    expect(reference).toMatchObject({ totalByteSize: 0, bufferCount: 0 });
    expect(reference.bufferAt(0)).toBeNull();
    reference.append(memory);
    reference.append(new Float32Array(4));
    reference.prepend(part);
    reference.append(new ArrayBuffer(7)).append(new DataView(new ArrayBuffer(9), 4, 5));
    reference.append(new SharedArrayBuffer(3)).append(new Uint8Array(0));
    expect(reference).toMatchObject({ totalByteSize: 30 + 100 + 16 + 7 + 5 + 3, bufferCount: 7 });
    const onGpu = { memoryType: "GPU", memoryTypeId: gpu } as const;
    const inJs = { pointer: null, memoryType: "CPU", memoryTypeId: 0 } as const;
    expect(Array.from({ length: 8 }, (_, i) => reference.bufferAt(i))).toEqual([
      { pointer: part.pointer, byteSize: 30, ...onGpu },
      { pointer: memory.pointer, byteSize: 100, ...onGpu },
      { byteSize: 16, ...inJs },
      { byteSize: 7, ...inJs },
      { byteSize: 5, ...inJs },
      { byteSize: 3, ...inJs },
      { byteSize: 0, ...inJs },
      null,
    ]);
    expect(Bun.inspect(reference)).toBe("MemoryReference { 7 buffers, 161 bytes }");
    expect(Bun.inspect(MemoryReference.prototype)).toBe("MemoryReference {}");
  });

  test("takes nothing but memory, and stays as it is where that is refused", () => {
    createManagers();
    const freed = memoryOf("GPU", 100);
    freed.free();
    const detached = new ArrayBuffer(8);
    detached.transfer();
    const reference = new MemoryReference().append(new Uint8Array(5));
    for (const add of ["append", "prepend"] as const) {
      for (const value of [undefined, null, 5, "bytes", {}, [1], detached, reference, Proxy]) {
        expectMemoryError("INVALID_ARG", () => reference[add](untyped(value)));
      }
      expectMemoryError("UNAVAILABLE", () => reference[add](freed));
    }
    expect(reference).toMatchObject({ totalByteSize: 5, bufferCount: 1 });
    for (const index of notWholeNumbers) {
      expectMemoryError("INVALID_ARG", () => reference.bufferAt(untyped(index)));
    }
    const post = () => structuredClone(reference);
    expect(post).toThrow(expect.objectContaining({ name: "DataCloneError" }));
  });
});

describe("copying from a reference", () => {
  test.each([
    ["GPU", "GPU", false],
    ["GPU, without pinned memory on the way", "GPU", true],
    ["CPU_PINNED", "CPU_PINNED", false],
    ["CPU", "CPU", true],
  ] as const)("gathers buffers of all kinds: %s", async (_name, type, isPinnedPoolFull) => {
    for (let first = 0; first < 4; first++) {
      createManagers({ pinnedByteSize: 16 * mebibyte });
      const buffers = buffersOfAllKinds(first);
      const restByteSize = isPinnedPoolFull ? PinnedMemoryManager.stats().largestFreeByteSize : 0;
      using rest = new AllocatedMemory(restByteSize, "CPU_PINNED");
      using target = memoryOf(type, totalByteSize + 7);
      using stream = new CudaStream(gpu);
      const reference = referenceTo(buffers);
      for (const options of [{}, { stream }]) {
        target.fill(0);
        const isQueued = copyBuffer(target, reference, { targetOffset: 3, ...options });
        expect(isQueued).toBe("stream" in options); // some buffers are on a GPU in any case
        await stream.finished();
        expectSame(contentOf(target).subarray(3, -4), allBytes);
        expect([...contentOf(target).subarray(-4)]).toEqual([0, 0, 0, 0]);
      }
      freeKept();
      rest.free();
      target.free();
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
    }
  });

  test("takes a part of it", () => {
    createManagers();
    const reference = referenceTo(buffersOfAllKinds(0));
    using target = memoryOf("GPU", totalByteSize);
    for (const [sourceOffset, byteSize] of [
      [0, 1],
      [1, 4096],
      [4000, 300],
      [4197, 65_536],
      [4190, 140_000],
      [totalByteSize - 1, 1],
      [totalByteSize, 0],
      [50_000, undefined],
    ] as const) {
      target.fill(0);
      copyBuffer(target, reference, {
        sourceOffset,
        byteSize,
        targetOffset: 5 * Number(sourceOffset < 5),
      });
      const start = 5 * Number(sourceOffset < 5);
      const end = byteSize === undefined ? totalByteSize : sourceOffset + byteSize;
      const wanted = new Uint8Array(totalByteSize);
      wanted.set(allBytes.subarray(sourceOffset, end), start);
      expectSame(contentOf(target), wanted);
    }
    freeKept();
  });

  test("refuses what does not fit, before a byte moves", () => {
    createManagers();
    using target = memoryOf("GPU", 100);
    target.fill(9);
    const reference = referenceTo([new Uint8Array(60), new Uint8Array(60)]);
    for (const options of [
      {},
      { byteSize: 101 },
      { sourceOffset: 121 },
      { sourceOffset: 60, byteSize: 61 },
      { targetOffset: 1, byteSize: 100 },
      { sourceOffset: -1 },
      { byteSize: NaN },
      { stream: 5 },
      { unknown: 5 },
    ]) {
      expectMemoryError("INVALID_ARG", () => copyBuffer(target, reference, untyped(options)));
    }
    expectMemoryError("INVALID_ARG", () => copyBuffer(untyped(reference), reference));
    expect(contentOf(target).every((byte) => byte === 9)).toBeTrue();
    expect(copyBuffer(target, new MemoryReference())).toBeFalse();
  });

  test("refuses what has gone since it was added, before a byte moves", () => {
    createManagers();
    using target = memoryOf("GPU", 300);
    target.fill(9);
    const first = new Uint8Array(100);
    const freed = memoryOf("CPU_PINNED", 100);
    const reference = referenceTo([first, freed, first]);
    freed.free();
    expectMemoryError("UNAVAILABLE", () => copyBuffer(target, reference));
    expectMemoryError("UNAVAILABLE", () => copyBuffer(target, reference, { byteSize: 50 }));
    expectMemoryError("UNAVAILABLE", () => reference.bufferAt(1));
    const whole = memoryOf("GPU", 100);
    const withPart = referenceTo([first, whole.subarray(5)]);
    whole.free();
    expectMemoryError("UNAVAILABLE", () => copyBuffer(target, withPart));
    const buffer = new ArrayBuffer(100, { maxByteLength: 200 });
    const withBuffer = referenceTo([first, new Uint8Array(buffer)]);
    buffer.resize(150);
    copyBuffer(target, withBuffer);
    target.fill(9);
    buffer.resize(50);
    expectMemoryError("INVALID_ARG", () => copyBuffer(target, withBuffer));
    buffer.transfer();
    expectMemoryError("INVALID_ARG", () => copyBuffer(target, withBuffer));
    const outlived = memoryOf("CPU_PINNED", 100);
    const withOutlived = referenceTo([first, outlived]);
    PinnedMemoryManager.reset();
    expectMemoryError("UNAVAILABLE", () => copyBuffer(target, withOutlived));
    expect(contentOf(target).every((byte) => byte === 9)).toBeTrue();
  });

  test("refuses buffers that overlap with the target", () => {
    createManagers();
    using memory = memoryOf("CPU_PINNED", 1000);
    const other = new Uint8Array(100);
    for (const buffer of [memory.subarray(0, 200), memory.bytes.subarray(0, 200)]) {
      const reference = referenceTo([other, buffer]);
      expectMemoryError("INVALID_ARG", () => copyBuffer(memory, reference));
      copyBuffer(memory, reference, { targetOffset: 200 });
    }
  });

  test("has read JS memory when the call returns, also with a stream", async () => {
    createManagers();
    for (const byteSize of [4096, 300_000]) {
      using target = memoryOf("GPU", 3 * byteSize);
      using stream = new CudaStream(gpu);
      const pieces = [1, 2, 3].map((seed) => patternBytes(byteSize, seed));
      const wanted = Buffer.concat(pieces);
      copyBuffer(target, referenceTo(pieces), { stream });
      for (const piece of pieces) piece.fill(0);
      await stream.finished();
      expectSame(contentOf(target), wanted);
    }
  });

  test("leaves nothing in the pinned pool", async () => {
    createManagers();
    using target = memoryOf("GPU", totalByteSize);
    const pieces = Array.from({ length: 40 }, () => new Uint8Array(1000));
    using stream = new CudaStream(gpu);
    copyBuffer(target, referenceTo(pieces));
    copyBuffer(target, referenceTo(pieces), { stream });
    await stream.finished();
    expect(PinnedMemoryManager.stats()).toMatchObject({ usedByteSize: 0, allocationCount: 0 });
  });
});
