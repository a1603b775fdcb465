// Streams that nobody refers to any more are destroyed, but not while the library needs them.

import { expect, test } from "bun:test";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";

const simulator = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };

test("a stream that is dropped is destroyed, with a warning", () => {
  const [warnings, streamCount] = runWithPackage(
    simulator,
    async ({ CudaStream, CudartSimulator, messagesOf }) => {
      (() => Array.from({ length: 20 }, () => new CudaStream(0)))();
      for (let i = 0; i < 50 && CudartSimulator.liveHandles().streamCount > 5; i++) {
        Bun.gc(true);
        await Bun.sleep(1);
      }
      return [messagesOf("warn"), CudartSimulator.liveHandles().streamCount] as const;
    },
  );
  expect(streamCount).toBeLessThanOrEqual(5);
  expect(warnings.length).toBe(20 - streamCount);
  expect(warnings[0]).toContain("a CudaStream of GPU 0 was never disposed of");
});

test("a stream that memory is freed on is not destroyed before that is done", () => {
  const [duringTransfer, afterwards] = runWithPackage(
    simulator,
    async ({ AllocatedMemory, createMemoryManagers, CudaStream, CudartSimulator, messagesOf }) => {
      createMemoryManagers({ pinnedMemoryPoolByteSize: 1 << 20 });
      CudartSimulator.setDelay({ operationNs: 500_000_000 });
      const memory = new AllocatedMemory(1 << 20, "GPU");
      const written = memory.writeAsync(new Uint8Array(1 << 20));
      (() => memory.free(new CudaStream(0)))(); // put off until the transfer is over
      const collect = async (count: number) => {
        for (let i = 0; i < count; i++) {
          Bun.gc(true);
          await Bun.sleep(2);
        }
        return messagesOf("warn");
      };
      const duringTransfer = await collect(50);
      await written;
      return [duringTransfer, await collect(100)] as const;
    },
  );
  expect(duringTransfer).toEqual([]);
  expect(afterwards).toEqual([expect.stringContaining("a CudaStream of GPU 0 was never disposed")]);
});
