// A full pool does not end in the kernel's out-of-memory killer, where non-pinned memory has a limit.

import { describe, expect, test } from "bun:test";
import { AllocatedMemory, createMemoryManagers, PinnedMemoryManager } from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";

resetAfterEach();

const limit = 1 << 20;

/** Managers of which no pool can serve: what is asked for is non-pinned, or nothing. */
function createLimited(nonpinnedMemoryLimitByteSize: number): Disposable {
  return createMemoryManagers({
    cudaMemoryPoolByteSize: Object.fromEntries(gpus.map((id) => [id, 0])),
    pinnedMemoryPoolByteSize: 0,
    nonpinnedMemoryLimitByteSize,
  });
}

function refusal(byteSize: number): string {
  using memory = new AllocatedMemory(byteSize, "CPU");
  expect([memory.totalByteSize, memory.bufferCount]).toEqual([0, 0]);
  return logged.error.pop()!;
}

describe("the limit of non-pinned memory", () => {
  test("is all that can be had, and a request beyond it says so with its figures", () => {
    using _managers = createLimited(limit);
    using memory = new AllocatedMemory(limit - 4096, "GPU");
    expect(memory.memoryType).toBe("CPU");
    const message = refusal(4097);
    expect(message).toContain("failed to allocate 4097 bytes");
    expect(message).toContain(`limit (${limit - 4096} of ${limit} bytes are in use)`);
    using rest = new AllocatedMemory(4096, "CPU_PINNED");
    expect(rest.totalByteSize).toBe(4096);
    expect(PinnedMemoryManager.stats().nonpinnedByteSize).toBe(limit);
    refusal(1);
    rest.free();
    new AllocatedMemory(4096, "CPU").free();
    expect(logged.error).toEqual([]);
  });

  test("is the reason also where the system could not have served either", () => {
    using _managers = createLimited(limit);
    expect(refusal(2 ** 52)).toContain(`(0 of ${limit} bytes are in use)`);
  });

  test("holds for the pinned manager's fallback", () => {
    using _managers = createLimited(limit);
    const { pointer, memoryType } = PinnedMemoryManager.alloc(limit);
    expect(memoryType).toBe("CPU");
    const message = expectMemoryError("OUT_OF_MEMORY", () => PinnedMemoryManager.alloc(1));
    expect(message).toContain(`(${limit} of ${limit} bytes are in use)`);
    PinnedMemoryManager.free(pointer);
    PinnedMemoryManager.free(PinnedMemoryManager.alloc(limit).pointer);
  });

  test("counts what was freed and is held", async () => {
    using _managers = createLimited(limit);
    const { promise, resolve } = Promise.withResolvers<void>();
    const memory = new AllocatedMemory(limit, "CPU");
    const held = memory.holdUntil(promise);
    memory.free();
    refusal(1);
    resolve();
    await held;
    new AllocatedMemory(limit, "CPU").free();
    expect(logged.error).toEqual([]);
  });

  test("is nothing to memory of the pools", () => {
    using _managers = createMemoryManagers({
      pinnedMemoryPoolByteSize: limit,
      nonpinnedMemoryLimitByteSize: 0,
    });
    using pinned = new AllocatedMemory(limit, "CPU");
    expect(pinned.memoryType).toBe("CPU_PINNED");
    expect(refusal(1)).toContain("(0 of 0 bytes are in use)");
  });

  test("is that of the first managers, and gone with them", () => {
    {
      using _managers = createLimited(limit);
      using _others = createLimited(2 * limit);
      refusal(limit + 1);
    }
    new AllocatedMemory(limit + 1, "CPU").free();
    using _managers = createMemoryManagers({ pinnedMemoryPoolByteSize: 0 });
    new AllocatedMemory(limit + 1, "CPU").free();
    expect(logged.error).toEqual([]);
  });

  test("what cannot be one is refused", () => {
    for (const value of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
      expectMemoryError("INVALID_ARG", () => createLimited(value));
    }
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.stats());
  });
});
