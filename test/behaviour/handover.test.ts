// Memory goes from thread to thread by `detach` and `attach`, and in no other way.

import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  CudaMemoryManager,
  type MemoryType,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { contentOf, createManagers, memoryOf } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

function detachedByteSize(memoryType: MemoryType): number {
  const stats = memoryType === "GPU" ? CudaMemoryManager.stats(gpu) : PinnedMemoryManager.stats();
  return stats.detachedByteSize;
}

describe.each([
  ["GPU", undefined],
  ["CPU_PINNED", undefined],
  ["CPU", 0],
] as const)("%s memory", (memoryType, pinnedByteSize) => {
  const create = () => createManagers(pinnedByteSize === undefined ? {} : { pinnedByteSize });

  test("is attached once, with its bytes, and is as if freed where it was", () => {
    create();
    const memory = memoryOf(memoryType, 1024);
    memory.fill(7);
    const { pointer } = memory;
    const handle = memory.detach();
    expect(handle).toMatchObject({ byteSize: 1024, memoryType });
    expect([memory.totalByteSize, memory.pointer]).toEqual([0, null]);
    expect(detachedByteSize(memoryType)).toBe(1024);
    memory.free();

    const posted = structuredClone(handle);
    expect(posted).toEqual(handle);
    using attached = AllocatedMemory.attach(posted);
    expect(attached.pointer).toBe(pointer);
    expect(attached.memoryType).toBe(memoryType);
    expect(contentOf(attached).every((byte) => byte === 7)).toBe(true);
    expect(detachedByteSize(memoryType)).toBe(0);
    expectMemoryError("UNAVAILABLE", () => AllocatedMemory.attach(handle));
    attached.free();
    expectMemoryError("UNAVAILABLE", () => AllocatedMemory.attach(handle));
  });

  test("that is detached is gone with its manager", () => {
    create();
    const handle = memoryOf(memoryType, 1024).detach();
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    expectMemoryError("UNAVAILABLE", () => AllocatedMemory.attach(handle));
    create();
    expectMemoryError("UNAVAILABLE", () => AllocatedMemory.attach(handle));
    expect(detachedByteSize(memoryType)).toBe(0);
  });

  test("of which the worker makes another is the worker's", async () => {
    create();
    const memory = memoryOf(memoryType, 4096);
    memory.fill(3);
    const worker = new Worker(new URL("./handover-worker.ts", import.meta.url));
    const answer = new Promise<MessageEvent>((resolve) => (worker.onmessage = resolve));
    worker.postMessage(memory.detach());
    const { data } = await answer;
    expect(data.sum).toBe(3 * 4096);
    using back = AllocatedMemory.attach(data.handle);
    expect(contentOf(back).every((byte) => byte === 4)).toBe(true);
    worker.terminate();
  });
});

test.each([
  null,
  undefined,
  5,
  {},
  { id: -1, byteSize: 1, memoryType: "GPU", memoryTypeId: 0 },
  { id: 5, byteSize: 1, memoryType: "TPU", memoryTypeId: 0 },
  { id: "5", byteSize: 1, memoryType: "GPU", memoryTypeId: 0 },
])("what is no handle is refused: %p", (handle) => {
  expectMemoryError("INVALID_ARG", () => AllocatedMemory.attach(handle as never));
});

test("a handle of another process is nobody's", () => {
  createManagers();
  const handle = { id: 12345, byteSize: 512, memoryType: "GPU", memoryTypeId: gpu } as const;
  expectMemoryError("UNAVAILABLE", () => AllocatedMemory.attach(handle));
});

test("memory that is in use is not detached, and stays", async () => {
  createManagers();
  using memory = memoryOf("GPU", 1 << 20);
  const transfer = memory.writeAsync(new Uint8Array(1 << 20).fill(9));
  expectMemoryError("UNAVAILABLE", () => memory.detach());
  await transfer;
  expect(contentOf(memory).every((byte) => byte === 9)).toBe(true);

  using host = memoryOf("CPU_PINNED", 4096);
  const { promise, resolve } = Promise.withResolvers<void>();
  const held = host.holdUntil(promise);
  expectMemoryError("UNAVAILABLE", () => host.detach());
  resolve();
  await held;
  const { bytes } = host;
  const given = bytes.buffer.transfer();
  expectMemoryError("UNAVAILABLE", () => host.detach());
  expect(given.byteLength).toBe(4096);
});

describe("a memory cannot be posted as it is", () => {
  test.each(["structuredClone", "postMessage"])("%s throws", (way) => {
    createManagers();
    using memory = memoryOf("GPU", 1024);
    const { port1, port2 } = new MessageChannel();
    const post = () =>
      way === "postMessage" ? port1.postMessage({ memory }) : structuredClone([memory]);
    expect(post).toThrow(expect.objectContaining({ name: "DataCloneError" }));
    port1.close();
    port2.close();
    memory.fill(1);
  });
});

test("two memories are not equal, and each is itself", () => {
  createManagers();
  using a = memoryOf("GPU", 16);
  using b = memoryOf("GPU", 16);
  expect(a).not.toEqual(b);
  expect(a).toEqual(a);
});

test("a memory is shown as what it is", () => {
  createManagers();
  const memory = memoryOf("GPU", 4096);
  expect(Bun.inspect(memory)).toMatch(
    new RegExp(`^AllocatedMemory \\{ 4096 bytes, GPU ${gpu}, at 0x[0-9a-f]+ \\}$`),
  );
  memory.free();
  expect(Bun.inspect(memory)).toBe("AllocatedMemory { was freed }");
  expect(Bun.inspect(AllocatedMemory.prototype)).toBe("AllocatedMemory {}");
  expect(Bun.inspect(new AllocatedMemory(0, "CPU"))).toBe("AllocatedMemory { 0 bytes, CPU }");
});
