// Each process warns of each kind of fallback once for each GPU and cause.

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
    PinnedMemoryManager.alloc(600);
    PinnedMemoryManager.alloc(600);
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
    // Of the pinned pool again, but for a request that is no GPU's.
    "bun-cuda-memory: failed to allocate 600 bytes of pinned system memory: no free block is large enough (0 of " +
      `1024 bytes free, largest free block 0 bytes); ${rest} non-pinned system memory (this ` +
      "warning is not repeated)",
  ]);
});

test("each GPU and each cause has a warning of its own, in whatever thread", () => {
  const environment = { ...simulator, CUDART_SIM_DEVICES: "9.0:1073741824,9.0:1073741824" };
  const counts = runWithPackage(environment, async (memory) => {
    const { AllocatedMemory, CudaMemoryManager, CudartSimulator, PinnedMemoryManager } = memory;
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 1 << 20 });
    const counts: number[] = [];
    const fallBackTwice = (byteSize: number, gpu: number) => {
      for (let i = 0; i < 2; i++) new AllocatedMemory(byteSize, "GPU", gpu).free();
      counts.push(memory.messagesOf("warn").length);
    };
    fallBackTwice(512, 0); // no pool
    fallBackTwice(512, 1);
    CudaMemoryManager.create({ memoryPoolByteSize: { 0: 1024, 1: 1024 } });
    fallBackTwice(2048, 0); // too large
    fallBackTwice(2048, 1);
    const fillers = [0, 1].map((gpu) => new AllocatedMemory(1024, "GPU", gpu));
    fallBackTwice(512, 0); // full
    fallBackTwice(512, 1);
    CudartSimulator.failCall({ function: "cudaMemset", error: "cudaErrorIllegalAddress" });
    memory.outcomeOf(() => fillers[0]!.fill(0));
    fallBackTwice(512, 0); // lost
    fallBackTwice(512, 1);
    const worker = new Worker(
      URL.createObjectURL(
        new Blob([
          `const { AllocatedMemory, setLogger } = await import(${JSON.stringify(
            Bun.resolveSync("./src/index.ts", process.cwd()),
          )});
          const warnings = [];
          setLogger({ info() {}, warn: (message) => warnings.push(message), error() {} });
          new AllocatedMemory(512, "GPU", 1).free();
          new AllocatedMemory(2 << 20, "GPU", 1).free(); // for which the pinned pool is too small
          postMessage(warnings.length);`,
        ]),
      ),
    );
    counts.push(
      await new Promise<number>((resolve) => (worker.onmessage = (e) => resolve(e.data))),
    );
    worker.terminate();
    return counts;
  });
  expect(counts).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 1]);
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
