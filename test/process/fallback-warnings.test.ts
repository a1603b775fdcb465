// Each process warns of each kind of fallback once.

import { expect, test } from "bun:test";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";

const simulator = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };

test("each kind of fallback warns once, with the reason", () => {
  const warnings = runWithPackage(simulator, (memory) => {
    const { AllocatedMemory, CudaMemoryManager, PinnedMemoryManager, messagesOf } = memory;
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 1024 });
    CudaMemoryManager.create({ memoryPoolByteSize: { 0: 1024 } });
    const counts = [];
    const memories = [];
    for (let i = 0; i < 5; i++) {
      memories.push(new AllocatedMemory(600, "GPU", 0));
      counts.push(messagesOf("warn").length);
    }
    PinnedMemoryManager.alloc(5000);
    return [counts, messagesOf("warn")] as const;
  });
  expect(warnings[0]).toEqual([0, 1, 2, 2, 2]);
  const rest = "falling back to";
  expect(warnings[1]).toEqual([
    "bun-cuda-memory: failed to allocate 600 bytes of CUDA memory on GPU 0: no free block is large enough (0 of " +
      `1024 bytes free, largest free block 0 bytes); ${rest} pinned system memory (this warning ` +
      "is not repeated)",
    "bun-cuda-memory: failed to allocate 600 bytes of pinned system memory: no free block is large enough (0 of " +
      `1024 bytes free, largest free block 0 bytes); ${rest} non-pinned system memory (this ` +
      "warning is not repeated)",
  ]);
});

test("both kinds at once are two warnings", () => {
  const warnings = runWithPackage(simulator, ({ AllocatedMemory, messagesOf }) => {
    new AllocatedMemory(600, "GPU", 0).free();
    return messagesOf("warn");
  });
  expect(warnings).toHaveLength(2);
  expect(warnings[0]).toContain("the CUDA memory manager has not been created");
  expect(warnings[1]).toContain("there is no pinned memory pool");
});

test("a request that nothing can serve says why everything failed, and warns of no fallback", () => {
  const [errors, warningCounts] = runWithPackage(simulator, (memory) => {
    memory.createMemoryManagers({ pinnedMemoryPoolByteSize: 4096 });
    const counts: number[] = [];
    for (const byteSize of [2 ** 52, 65 * 1024 ** 2, 2 ** 52]) {
      new memory.AllocatedMemory(byteSize, "GPU", 0).free();
      counts.push(memory.messagesOf("warn").length);
    }
    return [memory.messagesOf("error"), counts] as const;
  });
  expect(warningCounts).toEqual([0, 2, 2]);
  expect(errors).toHaveLength(2);
  for (const error of errors) {
    expect(error).toContain("4503599627370496 bytes of CUDA memory on GPU 0");
    expect(error).toContain("67108864 of 67108864 bytes free");
    expect(error).toContain("4096 of 4096 bytes free");
    expect(error).toContain("the system has no non-pinned memory either");
    expect(error).not.toContain("falling back");
  }
});
