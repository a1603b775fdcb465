import { expect, test } from "bun:test";
import { AllocatedMemory, CudaMemoryManager, PinnedMemoryManager } from "../../src/index.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import type { GuestResult } from "./guest-worker.ts";
import type { HammerResult, HammerTask } from "./hammer-worker.ts";
import { inWorker } from "./in-worker.ts";

resetAfterEach();

const [gpu = 0] = gpus;
const granuleByteSize = 512;

/** The lowest address of a pool that is empty. */
function baseOf(kind: HammerTask["kind"]): number {
  using lowest = new AllocatedMemory(granuleByteSize, kind, kind === "GPU" ? gpu : 0);
  return lowest.pointer!;
}

test.each(["GPU", "CPU_PINNED"] as const)(
  "Workers that hammer one %s pool are never given the same block",
  async (kind) => {
    const poolByteSize = 4 * 1024 ** 2;
    CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: poolByteSize } });
    PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: poolByteSize });
    const owners = new SharedArrayBuffer((poolByteSize / granuleByteSize) * 4);
    const task = { kind, gpu, base: baseOf(kind), owners, stepCount: 60_000 };
    const results = await Promise.all(
      [1, 2, 3, 4, 5].map((id) => inWorker<HammerResult>("./hammer-worker.ts", { ...task, id })),
    );

    for (const { conflictCount, allocationCount } of results) {
      expect(conflictCount).toBe(0);
      expect(allocationCount).toBeGreaterThan(1000);
    }
    // The pool was full now and then, so the threads did meet.
    expect(results.reduce((sum, { refusalCount }) => sum + refusalCount, 0)).toBeGreaterThan(0);
    const stats = kind === "GPU" ? CudaMemoryManager.stats(gpu) : PinnedMemoryManager.stats();
    expect(stats).toMatchObject({
      usedByteSize: 0,
      allocationCount: 0,
      largestFreeByteSize: poolByteSize,
    });
    expect(new Int32Array(owners).every((owner) => owner === 0)).toBe(true);
  },
  30_000,
);

test("a Worker sees the managers of the process, and leaves what it allocated", async () => {
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: 4096 } });
  const { warnings, pointer, stats } = await inWorker<GuestResult>("./guest-worker.ts", gpu);
  expect(warnings).toHaveLength(1);
  expect(stats).toMatchObject({ capacityByteSize: 4096, usedByteSize: 1024 });
  CudaMemoryManager.free(pointer, gpu);
  expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
});
