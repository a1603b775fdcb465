import { expect, test } from "bun:test";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";

const simulator = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };

test("a logger that throws loses neither memory nor the message", () => {
  const [counts, stderr] = runWithPackage(simulator, async (memory) => {
    const { AllocatedMemory, CudaMemoryManager, nonpinnedCount, setLogger } = memory;
    const said: string[] = [];
    console.error = (message: string) => void said.push(message);
    const fail = () => {
      throw new Error("out of ink");
    };
    setLogger({ info: fail, warn: fail, error: fail });
    CudaMemoryManager.create();
    const kept = new AllocatedMemory(600, "GPU", 0);
    const live = [kept.memoryType, nonpinnedCount()];
    kept.free();
    for (let i = 0; i < 50; i++) new AllocatedMemory(600, "GPU", 0);
    for (let i = 0; i < 100 && nonpinnedCount() > 2; i++) {
      Bun.gc(true);
      await Bun.sleep(2);
    }
    return [[...live, nonpinnedCount()], said] as const;
  });
  expect(counts.slice(0, 2)).toEqual(["CPU", 1]);
  expect(counts[2]).toBeLessThanOrEqual(2); // the collector is conservative
  expect(stderr.join("\n")).toContain("the logger failed with Error: out of ink at: failed to");
  expect(stderr.join("\n")).toContain("an AllocatedMemory of 600 bytes (CPU 0) was never freed");
});
