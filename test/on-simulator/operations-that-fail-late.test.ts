import type { Pointer } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { expectMemoryError, rejectionOf } from "../support/expectations.ts";
import { isSimulated, logged } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { createManagers, kibibyte, resetSimulatorAfterEach, slowly } from "./slow-gpu.ts";

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

  describe.each([0, 1] as Pointer[])("on the default stream, handle %d", (handle) => {
    const bytes = new Uint8Array(1000);
    const calls: Record<string, (memory: AllocatedMemory, other: AllocatedMemory) => void> = {
      write: (memory) => memory.write(bytes),
      read: (memory) => memory.read(bytes),
      fill: (memory) => memory.fill(1),
      copyBuffer: (memory, other) => void copyBuffer(memory, other),
    };

    test.each(Object.keys(calls))("is not lost where %s finds it", async (call) => {
      createManagers(64 * kibibyte);
      using memory = new AllocatedMemory(1000, "GPU");
      using other = new AllocatedMemory(1000, "GPU");
      using pinned = new AllocatedMemory(1000, "CPU_PINNED");
      const find = () => expectMemoryError("INTERNAL", () => calls[call]!(other, pinned));
      const begin: Record<string, (stream: CudaStream) => Promise<unknown>> = {
        writeAsync: (stream) => memory.writeAsync(bytes, 0, { stream }),
        readAsync: (stream) => memory.readAsync(bytes, 0, { stream }),
        finished: (stream) => (copyBuffer(memory, pinned, { stream }), stream.finished()),
      };
      for (const way of Object.keys(begin)) {
        using stream = CudaStream.from(handle, 0);
        slowly(20);
        CudartSimulator.failOperation(failure);
        const promise = rejectionOf(begin[way]!(stream));
        slowly(0);
        find();
        expect((await promise).code).toBe("INTERNAL");
      }
      using stream = CudaStream.from(handle, 0);
      CudartSimulator.failOperation(failure);
      copyBuffer(memory, pinned, { stream });
      find();
      expectMemoryError("INTERNAL", () => stream.synchronize());
      expectAllWorks();
      stream.synchronize();
    });

    test("is logged where its object is disposed of", async () => {
      createManagers(64 * kibibyte);
      using memory = new AllocatedMemory(1000, "GPU");
      using pinned = new AllocatedMemory(1000, "CPU_PINNED");
      {
        using stream = CudaStream.from(handle, 0);
        slowly(20);
        CudartSimulator.failOperation(failure);
        copyBuffer(memory, pinned, { stream });
        slowly(0);
      }
      expectMemoryError("INTERNAL", () => memory.fill(1));
      for (let i = 0; i < 1000 && logged.error.length === 0; i++) await Bun.sleep(1);
      expect(logged.error).toEqual([expect.stringContaining("cudaErrorUnknown")]);
      expectAllWorks();
    });
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

  /** Asks about the stream as long as somebody else's transfer is under way. */
  const others = {
    synchronize: (stream: CudaStream) => stream.synchronize(),
    isDone: (stream: CudaStream) => void stream.isDone(),
    stats: () => void CudaMemoryManager.stats(0),
    free: (stream: CudaStream) => new AllocatedMemory(512, "GPU").free(stream),
    nobody: () => {},
  };

  describe.each(Object.keys(others) as (keyof typeof others)[])("while %s asks too", (other) => {
    test.each(["writeAsync", "readAsync"] as const)("rejects %s on a stream", async (way) => {
      createManagers(64 * kibibyte);
      using stream = new CudaStream(0);
      using staged = new AllocatedMemory(1000, "CPU_PINNED");
      staged.bytes.fill(7); // what readAsync must not take for bytes of the memory
      staged.free();
      using memory = new AllocatedMemory(1000, "GPU");
      memory.fill(1);
      slowly(30);
      CudartSimulator.failOperation(failure);
      let outcome = "";
      const bytes = new Uint8Array(1000);
      const transfer = memory[way](bytes, 0, { stream }).then(
        () => (outcome = "resolved"),
        () => (outcome = "rejected"),
      );
      slowly(0);
      while (outcome === "") {
        try {
          others[other](stream);
        } catch {}
        await Bun.sleep(1);
      }
      await transfer;
      expect(outcome).toBe("rejected");
      expect(bytes.includes(7)).toBeFalse();
      await stream.finished().catch(() => {});
      stream.synchronize();
      expectAllWorks();
    });

    test("rejects finished(), and the stream says it once more at most", async () => {
      createManagers(64 * kibibyte);
      using stream = new CudaStream(0);
      using source = new AllocatedMemory(1000, "CPU_PINNED");
      using memory = new AllocatedMemory(1000, "GPU");
      slowly(30);
      CudartSimulator.failOperation(failure);
      copyBuffer(memory, source, { stream });
      slowly(0);
      const outcomes: string[] = [];
      const waits = [1, 2, 3].map(() =>
        stream.finished().then(
          () => void outcomes.push("resolved"),
          (error: Error) => void outcomes.push(error.message),
        ),
      );
      while (outcomes.length < waits.length) {
        try {
          others[other](stream);
        } catch {}
        await Bun.sleep(1);
      }
      for (const message of outcomes) {
        expect(message).toMatch(/cudaErrorUnknown.*copyBuffer of 1000 bytes/);
      }
      stream.synchronize();
      expectAllWorks();
    });
  });

  test("rejects finished() although more was queued since it was found", async () => {
    createManagers(64 * kibibyte);
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    using memory = new AllocatedMemory(1000, "GPU");
    const freed = new AllocatedMemory(1000, "GPU");
    CudartSimulator.failOperation(failure);
    copyBuffer(memory, source, { stream });
    freed.free(stream);
    while (CudaMemoryManager.stats(0).allocationCount > 1) await Bun.sleep(1);
    slowly(100);
    copyBuffer(memory, source, { stream });
    await expect(stream.finished()).rejects.toThrow(/cudaErrorUnknown/);
    await stream.finished();
  });

  test.each(["a", "somebody else's"])(
    "is logged where %s stream was disposed of",
    async (whose) => {
      createManagers(64 * kibibyte);
      using owner = new CudaStream(0);
      using source = new AllocatedMemory(1000, "CPU_PINNED");
      using memory = new AllocatedMemory(1000, "GPU");
      const stream = whose === "a" ? new CudaStream(0) : CudaStream.from(owner.handle, 0);
      slowly(20);
      CudartSimulator.failOperation(failure);
      copyBuffer(memory, source, { stream });
      stream[Symbol.dispose]();
      for (let i = 0; i < 200 && logged.error.length === 0; i++) await Bun.sleep(1);
      expect(logged.error).toEqual([
        expect.stringMatching(/on a CudaStream that was disposed of: .*cudaErrorUnknown/),
      ]);
    },
  );
});
