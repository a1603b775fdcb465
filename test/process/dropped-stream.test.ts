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
