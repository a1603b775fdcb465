// How often CUDA is called for a copy of several buffers, and what becomes of it where a call fails.

import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaStream,
  MemoryReference,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { expectMemoryError, expectSame } from "../support/expectations.ts";
import { isSimulated, logged } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { createManagers, kibibyte, resetSimulatorAfterEach, slowly } from "./slow-gpu.ts";

resetSimulatorAfterEach();

const pieceByteSize = 4 * kibibyte;
const pieceCount = 64;

function smallPieces(): MemoryReference {
  const reference = new MemoryReference();
  for (let i = 0; i < pieceCount; i++) reference.append(patternBytes(pieceByteSize, i + 1));
  return reference;
}

const copyCount = () =>
  CudartSimulator.callCount("cudaMemcpy") + CudartSimulator.callCount("cudaMemcpyAsync");

function copyCountOf(action: () => void): number {
  const before = copyCount();
  action();
  return copyCount() - before;
}

describe.skipIf(!isSimulated)("a copy of several buffers (on the simulator only)", () => {
  test("is one transfer where they are small", async () => {
    createManagers(1024 * kibibyte);
    using target = new AllocatedMemory(512 * kibibyte, "GPU");
    using stream = new CudaStream(0);
    const reference = smallPieces();
    expect(copyCountOf(() => copyBuffer(target, reference))).toBe(1);
    expect(copyCountOf(() => copyBuffer(target, reference, { stream }))).toBe(1);
    await stream.finished();
    // One that is large, or lies on a GPU, has a transfer of its own.
    using onGpu = new AllocatedMemory(pieceByteSize, "GPU");
    reference
      .append(new Uint8Array(100 * kibibyte))
      .append(onGpu)
      .append(new Uint8Array(1));
    expect(copyCountOf(() => copyBuffer(target, reference))).toBe(4);
  });

  test("is a transfer for each where there is no pinned memory", () => {
    createManagers(1024 * kibibyte);
    using target = new AllocatedMemory(512 * kibibyte, "GPU");
    using _all = new AllocatedMemory(1024 * kibibyte, "CPU_PINNED");
    expect(copyCountOf(() => copyBuffer(target, smallPieces()))).toBe(pieceCount);
  });

  test.each(["CPU_PINNED", "CPU"] as const)(
    "reads %s memory when its stream has come there, and JS memory at once",
    (type) => {
      createManagers(1024 * kibibyte);
      using tensor = new AllocatedMemory(pieceByteSize, "GPU");
      using target = new AllocatedMemory(4 * pieceByteSize, "GPU");
      using one = new AllocatedMemory(pieceByteSize, type);
      using other = new AllocatedMemory(pieceByteSize, type);
      using stream = new CudaStream(0);
      tensor.fill(7);
      for (const memory of [one, other]) memory.fill(1);
      slowly(20);
      for (const memory of [one, other]) copyBuffer(memory, tensor, { stream });
      const ordinary = [2, 3].map((byte) => new Uint8Array(pieceByteSize).fill(byte));
      const reference = new MemoryReference();
      for (const buffer of [one, ordinary[0]!, ordinary[1]!, other]) reference.append(buffer);
      // Those of JS memory in one transfer, and the memories each in its own.
      expect(copyCountOf(() => copyBuffer(target, reference, { stream }))).toBe(3);
      for (const bytes of ordinary) bytes.fill(0);
      stream.synchronize();
      slowly(0);
      const content = new Uint8Array(4 * pieceByteSize);
      target.read(content);
      const wanted = content.map((_, i) => [7, 2, 3, 7][Math.floor(i / pieceByteSize)]!);
      expectSame(content, wanted);
    },
  );

  test("leaves nothing behind where its transfer fails", () => {
    createManagers(1024 * kibibyte);
    using target = new AllocatedMemory(512 * kibibyte, "GPU");
    using stream = new CudaStream(0);
    CudartSimulator.failCall({ function: "cudaMemcpy", error: 999 });
    expectMemoryError("INTERNAL", () => copyBuffer(target, smallPieces()));
    CudartSimulator.failCall({ function: "cudaMemcpyAsync", error: 999 });
    expectMemoryError("INTERNAL", () => copyBuffer(target, smallPieces(), { stream }));
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
    expectMemoryError("INTERNAL", () => stream.synchronize());
    copyBuffer(target, smallPieces(), { stream });
    stream.synchronize();
  });

  test("keeps its pinned memory until CUDA can mark the stream", async () => {
    createManagers(1024 * kibibyte);
    using target = new AllocatedMemory(512 * kibibyte, "GPU");
    using stream = new CudaStream(0);
    CudartSimulator.failCall({ function: "cudaEventRecord", error: 999 });
    expect(copyBuffer(target, smallPieces(), { stream })).toBeTrue();
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(pieceCount * pieceByteSize);
    expect(logged.error).toEqual([expect.stringContaining("cudaEventRecord")]);
    for (let i = 0; i < 100 && PinnedMemoryManager.stats().usedByteSize > 0; i++)
      await Bun.sleep(2);
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
    try {
      stream.synchronize();
    } catch {} // it may tell of the error
  });
});
