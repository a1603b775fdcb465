// What a program has dropped is collected before a request falls to the system heap; a program whose
// pool is rightly full does not pay for that again and again.

import { expect, test } from "bun:test";
import { simulatorLibraryPath } from "../../src/simulator.ts";
import { runWithPackage } from "../support/package.ts";

const environment = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };

test("dropped memory comes back before a request falls to the heap", () => {
  const result = runWithPackage(environment, async (memory) => {
    const mebibyte = 1 << 20;
    memory.createMemoryManagers({
      cudaMemoryPoolByteSize: { 0: 0 },
      pinnedMemoryPoolByteSize: 16 * mebibyte,
    });
    for (let i = 0; i < 16; i++) {
      new memory.AllocatedMemory(mebibyte, "CPU_PINNED");
      await Bun.sleep(0);
    }
    const full = memory.PinnedMemoryManager.stats().freeByteSize;
    const pointerOfManager = memory.PinnedMemoryManager.alloc(mebibyte);
    memory.PinnedMemoryManager.free(pointerOfManager.pointer);
    using next = new memory.AllocatedMemory(mebibyte, "CPU_PINNED");
    const { nonpinnedByteSize } = memory.PinnedMemoryManager.stats();
    const leaks = memory.messagesOf("warn").filter((text) => text.includes("never freed"));
    const types = [pointerOfManager.memoryType, next.memoryType];
    return [full, types, nonpinnedByteSize, leaks.length > 8];
  });
  expect(result).toEqual([0, ["CPU_PINNED", "CPU_PINNED"], 0, true]);
});

test("the collector is asked once where it finds nothing, and then not for a while", () => {
  const result = runWithPackage(environment, async (memory) => {
    const mebibyte = 1 << 20;
    memory.createMemoryManagers({
      cudaMemoryPoolByteSize: { 0: 0 },
      pinnedMemoryPoolByteSize: 4 * mebibyte,
    });
    let collectionCount = 0;
    const { gc } = Bun;
    Bun.gc = (force) => {
      collectionCount++;
      return gc(force);
    };
    const held = Array.from(
      { length: 4 },
      () => new memory.AllocatedMemory(mebibyte, "CPU_PINNED"),
    );
    using young = new memory.AllocatedMemory(mebibyte, "CPU_PINNED");
    const beforeAnyIsOld = collectionCount;
    await Bun.sleep(0);
    const types = Array.from({ length: 5 }, () => {
      using fallback = new memory.AllocatedMemory(mebibyte, "CPU_PINNED");
      return fallback.memoryType;
    });
    for (const each of held) each.free();
    return [young.memoryType, beforeAnyIsOld, types, collectionCount];
  });
  expect(result).toEqual(["CPU", 0, Array(5).fill("CPU"), 1]);
});
