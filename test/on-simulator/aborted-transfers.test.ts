import type { Pointer } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { CudartSimulator, type SimulatedFunction } from "../../src/simulator.ts";
import { isSimulated, logged } from "../support/runtime.ts";
import { kibibyte, longMilliseconds, resetSimulatorAfterEach, slowly } from "./slow-gpu.ts";

resetSimulatorAfterEach();

const mebibyte = 1024 * kibibyte;
const pieceByteSize = 4 * mebibyte;

function createManagers(pinnedByteSize = 64 * mebibyte): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
  CudaMemoryManager.create({ memoryPoolByteSize: { 0: 64 * mebibyte } });
}

const ways = ["writeAsync", "readAsync"] as const;

/** Aborts something some time after it has begun, and returns how long its rejection took. */
async function abortLater(
  begin: (signal: AbortSignal) => Promise<unknown>,
  milliseconds: number,
): Promise<number> {
  const reason = new Error("enough");
  const controller = new AbortController();
  const wait = begin(controller.signal);
  wait.catch(() => {});
  await Bun.sleep(milliseconds);
  const start = performance.now();
  controller.abort(reason);
  await expect(wait).rejects.toBe(reason);
  return performance.now() - start;
}

/** Waits until the pools have so many bytes in use. */
async function usedByteSizeBecomes(cuda: number, pinned: number): Promise<void> {
  const used = () => [
    CudaMemoryManager.stats(0).usedByteSize,
    PinnedMemoryManager.stats().usedByteSize,
  ];
  for (let i = 0; i < 3000 && !Bun.deepEquals(used(), [cuda, pinned]); i++) await Bun.sleep(1);
  expect(used()).toEqual([cuda, pinned]);
}

describe.skipIf(!isSimulated)("a transfer that is aborted (on the simulator only)", () => {
  describe.each(ways)("%s", (way) => {
    test.each(["staged", "not staged"])(
      "rejects at once, and its memory stays: %s",
      async (how) => {
        const isStaged = how === "staged";
        createManagers(isStaged ? 64 * mebibyte : 512);
        using stream = new CudaStream(0);
        using other = new AllocatedMemory(512, "GPU");
        // What is not staged is copied while the call blocks, so there the stream is busy before.
        for (const options of isStaged ? [{}, { stream }] : [{ stream }]) {
          using source = new AllocatedMemory(512, "CPU_PINNED"); // may leave no room for staging
          const memory = new AllocatedMemory(mebibyte, "GPU");
          slowly(longMilliseconds);
          if (!isStaged) copyBuffer(other, source, { stream });
          const bytes = new Uint8Array(mebibyte);
          const rejection = await abortLater(
            (signal) => memory[way](bytes, 0, { ...options, signal }),
            20,
          );
          expect(rejection).toBeLessThan(longMilliseconds / 4);
          slowly(0);
          memory.free();
          if (isStaged) {
            expect(CudaMemoryManager.stats(0).usedByteSize).toBe(mebibyte + 512);
            expect(PinnedMemoryManager.stats().usedByteSize).toBe(mebibyte + 512);
            using next = new AllocatedMemory(62 * mebibyte, "GPU");
            expect(next.memoryType).toBe("GPU");
          }
          await usedByteSizeBecomes(512, 512);
          stream.synchronize();
        }
        expect(logged.error).toEqual([]);
      },
    );

    test("queues no more pieces", async () => {
      createManagers();
      using stream = new CudaStream(0);
      using memory = new AllocatedMemory(10 * pieceByteSize, "GPU");
      const bytes = new Uint8Array(10 * pieceByteSize);
      for (const options of [{}, { stream }]) {
        const calls = () => CudartSimulator.callCount("cudaMemcpyAsync");
        slowly(30);
        const before = calls();
        await abortLater((signal) => memory[way](bytes, 0, { ...options, signal }), 45);
        const after = calls();
        expect(after - before).toBeGreaterThan(0);
        expect(after - before).toBeLessThan(10);
        await Bun.sleep(150);
        expect(calls()).toBe(after);
        slowly(0);
        await usedByteSizeBecomes(10 * pieceByteSize, 0);
      }
    });

    test("lets go at once of what the GPU was not given yet", async () => {
      createManagers();
      using stream = new CudaStream(0);
      using busy = new AllocatedMemory(kibibyte, "GPU");
      slowly(longMilliseconds);
      // As many as may be under way at once, and one on the stream.
      const earlier = [undefined, undefined, undefined, undefined, stream].map((on) =>
        busy.writeAsync(new Uint8Array(kibibyte), 0, { stream: on }),
      );
      slowly(0);
      for (const options of [{}, { stream }]) {
        const memory = new AllocatedMemory(mebibyte, "GPU");
        const bytes = new Uint8Array(mebibyte);
        await abortLater((signal) => memory[way](bytes, 0, { ...options, signal }), 5);
        await new Promise(setImmediate);
        memory.free();
        expect(CudaMemoryManager.stats(0).usedByteSize).toBe(kibibyte);
      }
      await Promise.all(earlier);
      await stream.finished();
      // Nobody else's turn is lost.
      await busy.writeAsync(new Uint8Array(kibibyte), 0, { stream });
      await busy.writeAsync(new Uint8Array(kibibyte));
    });

    test("does not wait for the stream where it is of host memory", async () => {
      createManagers();
      using stream = new CudaStream(0);
      using other = new AllocatedMemory(kibibyte, "GPU");
      using source = new AllocatedMemory(kibibyte, "CPU_PINNED");
      slowly(longMilliseconds);
      copyBuffer(other, source, { stream });
      const memory = new AllocatedMemory(kibibyte, "CPU_PINNED");
      const bytes = new Uint8Array(kibibyte);
      await abortLater((signal) => memory[way](bytes, 0, { stream, signal }), 20);
      await new Promise(setImmediate);
      memory.free();
      expect(PinnedMemoryManager.stats().usedByteSize).toBe(kibibyte);
      expect(stream.isDone()).toBeFalse();
      slowly(0);
      await stream.finished();
    });
  });

  test("keeps the memory of which its buffer is a view", async () => {
    createManagers(2 * kibibyte);
    using memory = new AllocatedMemory(2 * kibibyte, "GPU");
    const viewed = new AllocatedMemory(2 * kibibyte, "CPU_PINNED"); // no room for staging
    slowly(longMilliseconds);
    await abortLater((signal) => memory.writeAsync(viewed.bytes, 0, { signal }), 20);
    viewed.free();
    expect(PinnedMemoryManager.stats().usedByteSize).toBe(2 * kibibyte);
    slowly(0);
    await usedByteSizeBecomes(2 * kibibyte, 0);
  });

  test.each(ways)(
    "is told by the signal where the GPU fails later, which is logged: %s",
    async (way) => {
      createManagers();
      using stream = new CudaStream(0);
      for (const options of [{}, { stream }]) {
        const memory = new AllocatedMemory(mebibyte, "GPU");
        const bytes = new Uint8Array(mebibyte);
        slowly(50);
        CudartSimulator.failOperation({ error: "cudaErrorUnknown" });
        await abortLater((signal) => memory[way](bytes, 0, { ...options, signal }), 10);
        slowly(0);
        memory.free();
        await usedByteSizeBecomes(0, 0);
        await Bun.sleep(1);
        expect(logged.error).toEqual([
          expect.stringMatching(new RegExp(`${way} .*cudaErrorUnknown`)),
        ]);
        logged.error.length = 0;
        CudartSimulator.clearFaults();
        await stream.finished();
        using next = new AllocatedMemory(mebibyte, "GPU");
        await next[way](bytes, 0, options);
      }
    },
  );

  test("does not change the reason, whatever fails", async () => {
    createManagers();
    const memory = new AllocatedMemory(3 * pieceByteSize, "GPU");
    slowly(20);
    CudartSimulator.failOperation({ error: "cudaErrorUnknown" });
    await abortLater(
      (signal) => memory.writeAsync(new Uint8Array(3 * pieceByteSize), 0, { signal }),
      5,
    );
    memory.free();
    slowly(0);
    await usedByteSizeBecomes(0, 0);
  });

  const functions = [
    "cudaStreamCreateWithFlags",
    "cudaStreamIsCapturing",
    "cudaMemcpyAsync",
    "cudaEventCreateWithFlags",
    "cudaEventRecord",
    "cudaEventQuery",
    "cuCtxPushCurrent_v2",
    "cuCtxPopCurrent_v2",
    "cudaThreadExchangeStreamCaptureMode",
  ] as string[] as SimulatedFunction[];

  test.each(functions)("loses nothing where %s fails", async (name) => {
    createManagers();
    for (let nth = 1; nth <= 12; nth++) {
      for (const hasStream of [false, true]) {
        const stream = hasStream ? new CudaStream(0) : undefined;
        const memory = new AllocatedMemory(3 * pieceByteSize, "GPU");
        slowly(2);
        CudartSimulator.failCall({ function: name, nth, error: "cudaErrorUnknown" });
        const controller = new AbortController();
        const { signal } = controller;
        const bytes = new Uint8Array(3 * pieceByteSize);
        const reason = new Error("enough");
        const outcome = memory[ways[nth % 2]!](bytes, 0, { stream, signal }).then(
          () => "resolved",
          (error: unknown) => (error === reason ? "aborted" : (error as { code: string }).code),
        );
        await Bun.sleep(nth % 4);
        controller.abort(reason);
        expect(["aborted", "INTERNAL", "resolved"]).toContain(await outcome);
        expect(reason.message).toBe("enough");
        memory.free();
        await usedByteSizeBecomes(0, 0);
        CudartSimulator.clearFaults();
        slowly(0);
        await stream?.finished().catch(() => {});
        stream?.[Symbol.dispose]();
      }
    }
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    expect(CudartSimulator.liveHandles()).toEqual({ streamCount: 0, eventCount: 0 });
  });
});

describe.skipIf(!isSimulated)("a wait that is aborted (on the simulator only)", () => {
  test("rejects at once, and leaves the errors to whoever asks next", async () => {
    createManagers();
    using stream = new CudaStream(0);
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    using memory = new AllocatedMemory(1000, "GPU");
    slowly(longMilliseconds);
    CudartSimulator.failOperation({ error: "cudaErrorUnknown" });
    copyBuffer(memory, source, { stream });
    const rejection = await abortLater((signal) => stream.finished({ signal }), 10);
    expect(rejection).toBeLessThan(longMilliseconds / 4);
    await expect(stream.finished()).rejects.toThrow(/cudaErrorUnknown.*copyBuffer of 1000 bytes/);
    await stream.finished();
  });

  test("rejects at once where a transfer comes before it", async () => {
    createManagers();
    using stream = new CudaStream(0);
    using memory = new AllocatedMemory(1000, "GPU");
    slowly(longMilliseconds);
    const transfer = memory.writeAsync(new Uint8Array(1000), 0, { stream });
    const rejection = await abortLater((signal) => stream.finished({ signal }), 10);
    expect(rejection).toBeLessThan(longMilliseconds / 4);
    expect(stream.isDone()).toBeFalse();
    await transfer;
    await stream.finished();
  });
});

describe.skipIf(!isSimulated)("await using a stream (on the simulator only)", () => {
  test("logs what fails, and covers up no other error", async () => {
    createManagers();
    using source = new AllocatedMemory(1000, "CPU_PINNED");
    using memory = new AllocatedMemory(1000, "GPU");
    const run = async (from: (owner: CudaStream) => CudaStream) => {
      using owner = new CudaStream(0);
      await using stream = from(owner);
      slowly(10);
      CudartSimulator.failOperation({ error: "cudaErrorUnknown" });
      copyBuffer(memory, source, { stream });
      slowly(0);
      throw new RangeError("the first");
    };
    for (const from of [
      () => new CudaStream(0),
      (owner: CudaStream) => CudaStream.from(owner.handle, 0),
      () => CudaStream.from(0 as Pointer, 0),
    ]) {
      await expect(run(from)).rejects.toThrow(new RangeError("the first"));
      expect(logged.error).toEqual([
        expect.stringMatching(/a CudaStream of GPU 0: .*cudaErrorUnknown.*copyBuffer of 1000/),
      ]);
      logged.error.length = 0;
      CudartSimulator.clearFaults();
    }
  });

  test("disposes of it also where it cannot be waited for", async () => {
    createManagers();
    const stream = new CudaStream(0);
    CudartSimulator.failCall({ function: "cudaEventRecord", nth: 1, error: "cudaErrorUnknown" });
    await stream[Symbol.asyncDispose]();
    expect(logged.error).toEqual([expect.stringContaining("cudaEventRecord")]);
    expect(() => stream.isDone()).toThrow("disposed of");
  });
});
