import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { isSimulated } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { createManagers, kibibyte, resetSimulatorAfterEach } from "./slow-gpu.ts";

resetSimulatorAfterEach();

describe.skipIf(!isSimulated)("an operation that fails late (on the simulator only)", () => {
  const failure = { error: "cudaErrorUnknown" } as const;

  function expectAllWorks(): void {
    const bytes = patternBytes(1000);
    using memory = new AllocatedMemory(1000, "GPU");
    expect(memory.memoryType).toBe("GPU");
    memory.write(bytes);
    const back = new Uint8Array(1000);
    memory.read(back);
    expect(back).toEqual(bytes);
  }

  test.each(["writeAsync", "readAsync"] as const)(
    "is reported by the promise of %s",
    async (way) => {
      createManagers(64 * kibibyte);
      using stream = new CudaStream(0);
      for (const options of [undefined, { stream }]) {
        using memory = new AllocatedMemory(1000, "GPU");
        CudartSimulator.failOperation(failure);
        expect(memory[way](new Uint8Array(1000), 0, options)).rejects.toMatchObject({
          code: "INTERNAL",
          message: expect.stringMatching(
            new RegExp(
              `^${way} of 1000 bytes .*cudaEventQuery returned cudaErrorUnknown \\(999\\)`,
            ),
          ) as unknown,
        });
        await Bun.sleep(5);
        memory.free();
        expectAllWorks();
        expect(CudaMemoryManager.stats(0).usedByteSize).toBe(0);
        expect(PinnedMemoryManager.stats().usedByteSize).toBe(0);
      }
      stream.synchronize();
    },
  );

  test.each(["synchronize", "isDone", "finished"] as const)("is reported by %s", async (way) => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    using memory = new AllocatedMemory(1000, "GPU");
    CudartSimulator.failOperation(failure);
    copyBuffer(memory, source, { stream, byteSize: 123 });
    let message = "";
    try {
      do {
        await stream[way]();
      } while (way === "isDone");
    } catch (error) {
      ({ message } = error as Error);
    }
    expect(message).toContain("returned cudaErrorUnknown (999)");
    expect(message).toContain("copyBuffer of 123 bytes");
    stream.synchronize();
    expectAllWorks();
  });

  test("is not lost where a transfer finds it", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    using memory = new AllocatedMemory(1000, "GPU");
    using other = new AllocatedMemory(1000, "GPU");
    CudartSimulator.failOperation(failure);
    copyBuffer(memory, source, { stream });
    const transfer = other.writeAsync(new Uint8Array(1000), 0, { stream });
    await expect(transfer).rejects.toMatchObject({ code: "INTERNAL" });
    await expect(stream.finished()).rejects.toThrow(/cudaErrorUnknown.*copyBuffer of 1000 bytes/);
    await stream.finished();
    expectAllWorks();
  });

  test("is not lost where another request finds it", () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    const memory = new AllocatedMemory(64 * kibibyte, "GPU");
    CudartSimulator.failOperation(failure);
    copyBuffer(memory, source, { stream });
    memory.free(stream);
    const request = () => new AllocatedMemory(64 * kibibyte, "GPU");
    let next = request();
    for (let i = 0; i < 2000 && next.memoryType !== "GPU"; i++) {
      // until one finds the error
      next.free();
      Bun.sleepSync(1);
      next = request();
    }
    expect(next.memoryType).toBe("GPU");
    expect(() => stream.synchronize()).toThrow(/cudaEvent\w+ returned cudaErrorUnknown/);
    next.free();
    expect(CudaMemoryManager.stats(0).usedByteSize).toBe(0);
    expectAllWorks();
  });
});
