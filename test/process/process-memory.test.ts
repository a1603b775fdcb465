// What memory costs the process, and what becomes of it when the process ends.

import { expect, test } from "bun:test";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";

const simulator = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };

test("memory that lives when the process ends does not keep it, nor crash it", () => {
  const result = runWithPackage(simulator, (memory) => {
    memory.createMemoryManagers();
    const kept = [1, 2, 3].map(() => new memory.AllocatedMemory(30 * 1024 ** 2, "GPU", 0));
    (globalThis as Record<string, unknown>)["kept"] = kept;
    return kept.map(({ memoryType }) => memoryType);
  });
  expect(result).toEqual(["GPU", "GPU", "CPU_PINNED"]);
});

test("an 80 GiB pool costs no memory", () => {
  const [capacity, residentMiB] = runWithPackage(
    { ...simulator, CUDART_SIM_DEVICES: "9.0:85899345920" },
    async ({ CudaMemoryManager }) => {
      const resident = async () => {
        const status = await Bun.file("/proc/self/status").text();
        return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) / 1024;
      };
      Bun.gc(true);
      const before = await resident();
      CudaMemoryManager.create({ memoryPoolByteSize: { 0: 85899345920 } });
      const pointer = CudaMemoryManager.alloc(70 * 1024 ** 3, 0);
      CudaMemoryManager.alloc(10 * 1024 ** 3, 0);
      CudaMemoryManager.free(pointer, 0);
      return [CudaMemoryManager.stats(0).largestFreeByteSize, (await resident()) - before] as const;
    },
  );
  expect(capacity).toBe(70 * 1024 ** 3);
  expect(residentMiB).toBeLessThan(8);
});

test("parts of memory beyond 4 GiB have views, which go with the memory", () => {
  const result = runWithPackage(simulator, async (memory) => {
    memory.PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 0 });
    const gibibyte = 1024 ** 3;
    const large = new memory.AllocatedMemory(5 * gibibyte, "CPU");
    const codeOf = (action: () => unknown) => {
      try {
        action();
      } catch (error) {
        return (error as { code: string }).code;
      }
      return "";
    };
    const part = large.subarray(-100);
    part.bytes[99] = 7;
    const last = new Uint8Array(1);
    large.read(last, 5 * gibibyte - 1);
    const isSame = part.bytes === part.bytes;
    for (let i = 0; i < 100; i++) large.subarray(i, i + 4096).bytes.fill(i);
    const tooLarge = [codeOf(() => large.bytes), codeOf(() => large.subarray(5).bytes)];
    const { bytes } = part;
    // Only the bytes are held of this one.
    const ofDropped = (() => large.subarray(0, 1000).bytes)();
    Bun.gc(true);
    await Bun.sleep(1);
    const lengths = [bytes.length, ofDropped.length];
    large.free();
    lengths.push(bytes.length, ofDropped.length);
    return { last: last[0], isSame, tooLarge, lengths };
  });
  expect(result).toEqual({
    last: 7,
    isSame: true,
    tooLarge: ["UNSUPPORTED", "UNSUPPORTED"],
    lengths: [100, 1000, 0, 0],
  });
});
