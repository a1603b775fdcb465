// What is left of the package once CUDA has failed for good, which nothing in the process heals.

import { describe, expect, test } from "bun:test";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";

const simulator = {
  BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
  CUDART_SIM_DEVICES: "8.0:1073741824,8.0:1073741824",
};

describe("once CUDA has failed for good", () => {
  test("it is said once and CUDA is not called any more, while all else goes on", () => {
    const { finder, outcomes, callCounts, errors, ...rest } = runWithPackage(
      simulator,
      async (exports) => {
        const { AllocatedMemory, copyBuffer, CudaMemoryManager, CudartSimulator } = exports;
        const { CudaStream, outcomeOf, PinnedMemoryManager } = exports;
        exports.createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 1 << 20, 1: 1 << 20 } });
        const stream = new CudaStream(0);
        const awaited = new CudaStream(0);
        const borrowed = CudaStream.from(stream.handle, 0);
        const [onGpu, other, pending] = [0, 1, 0].map((gpu) => new AllocatedMemory(64, "GPU", gpu));
        const pinned = new AllocatedMemory(64, "CPU_PINNED");
        const status = [exports.cudaStatus()];
        pending!.free(stream);
        copyBuffer(onGpu!, pinned, { stream });
        CudartSimulator.failCall({
          function: "cudaMemset",
          nth: 1,
          error: "cudaErrorIllegalAddress",
        });
        const finder = outcomeOf(() => onGpu!.fill(1));
        status.push(exports.cudaStatus());

        const functions =
          `cudaGetDeviceCount cudaGetDevice cudaSetDevice cudaMalloc cudaFree cudaFreeHost cudaMemcpy cudaMemGetInfo
         cudaMemcpyAsync cudaMemset cudaStreamQuery cudaStreamDestroy cudaEventQuery cudaEventDestroy
         cudaEventRecord cudaDeviceSynchronize cudaPointerGetAttributes cudaGetLastError
         cudaThreadExchangeStreamCaptureMode cudaStreamIsCapturing cuCtxPushCurrent_v2`.split(
            /\s+/,
          ) as "cudaMalloc"[];
        const count = () => functions.map((name) => CudartSimulator.callCount(name));
        const before = count();
        const bytes = new Uint8Array(64);
        const refused: Record<string, () => unknown> = {
          fill: () => other!.fill(1),
          write: () => onGpu!.write(bytes),
          read: () => other!.read(bytes),
          copyBuffer: () => copyBuffer(pinned, onGpu!),
          "copyBuffer on a stream": () => copyBuffer(pinned, onGpu!, { stream }),
          "new CudaStream": () => new CudaStream(1),
          "CudaStream.from": () => CudaStream.from(stream.handle, 0),
          waitFor: () => stream.waitFor(borrowed),
          isDone: () => stream.isDone(),
          synchronize: () => stream.synchronize(),
          pointerAttributes: () => exports.pointerAttributes(pinned.pointer!),
          "CudaMemoryManager.alloc": () => CudaMemoryManager.alloc(1, 1),
          getDeviceMemory: () => exports.getDeviceMemory(0),
          "CudaMemoryManager.resize": () => CudaMemoryManager.resize(0, 0),
        };
        refused["writeAsync"] = () => onGpu!.writeAsync(bytes);
        refused["readAsync"] = () => onGpu!.readAsync(bytes, 0, { stream });
        refused["finished"] = () => stream.finished();
        const outcomes: Record<string, string> = {};
        for (const [name, call] of Object.entries(refused)) {
          outcomes[name] = await Promise.try(call).then(
            () => "OK",
            ({ code, cudaError, message }) => `${code} ${cudaError}: ${message}`,
          );
        }

        const goesOn: Record<string, () => unknown> = {
          "a copy between host memories": () => pinned.write(bytes),
          "free(stream)": () => onGpu!.free([stream, borrowed]),
          free: () => other!.free(),
          "a disposed stream": () => stream[Symbol.dispose](),
          "getSupportedGpus is empty": () => {
            if (exports.getSupportedGpus().length > 0) throw new Error("it is not");
          },
        };
        const goneOn = Object.values(goesOn).map(outcomeOf);
        await awaited[Symbol.asyncDispose]();
        await borrowed[Symbol.asyncDispose]();
        const allocationCount = CudaMemoryManager.stats(0).allocationCount;
        const fallenBack = new AllocatedMemory(64, "GPU").memoryType;
        const resets = [() => CudaMemoryManager.reset(), () => PinnedMemoryManager.reset()];
        const afterwards = [
          ...resets.map(outcomeOf),
          outcomeOf(() => CudaMemoryManager.create({ memoryPoolByteSize: { 0: 1 << 20 } })).slice(
            0,
            11,
          ),
          outcomeOf(() => PinnedMemoryManager.create()),
        ];
        const after = count();
        return {
          finder,
          outcomes,
          callCounts: after.map((calls, i) => calls - before[i]!),
          errors: exports.messagesOf("error"),
          status,
          goneOn,
          allocationCount,
          fallenBack,
          afterwards,
        };
      },
    );
    expect(finder).toMatch(/^DEVICE_LOST: .*cudaErrorIllegalAddress \(700\)/);
    for (const [name, text] of Object.entries(outcomes)) {
      expect([name, text]).toEqual([name, expect.stringMatching(/^DEVICE_LOST 700: .*\(700\)/)]);
    }
    expect(errors).toHaveLength(1);
    expect(errors[0]).toContain("cudaMemset returned cudaErrorIllegalAddress (700)");
    expect(errors[0]).toContain("start the process again");
    expect(callCounts.filter((count) => count > 0)).toEqual([]);
    expect(rest).toEqual({
      status: ["ready", "lost"],
      goneOn: ["OK", "OK", "OK", "OK", "OK"],
      allocationCount: 0,
      fallenBack: "CPU_PINNED",
      afterwards: ["OK", "OK", "DEVICE_LOST", "OK"],
    });
  });

  test.each([
    ["an allocation that falls back", "alloc"],
    ["statistics", "stats"],
    ["free(stream)", "free"],
    ["a reset", "reset"],
    ["pinned memory's reset", "resetPinned"],
  ] as const)("it is said where %s that succeeds finds it out", (_, finder) => {
    const { errors, outcome } = runWithPackage(
      { ...simulator, FINDER: finder },
      ({ AllocatedMemory, CudaMemoryManager, CudaStream, CudartSimulator, ...exports }) => {
        exports.createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 1024, 1: 0 } });
        const stream = new CudaStream(0);
        const [first, second] = [0, 0].map(() => new AllocatedMemory(512, "GPU"));
        // The stream is busy, so that what is freed on it is asked for later.
        CudartSimulator.setDelay({ operationNs: 100_000_000 });
        exports.copyBuffer(second!, first!, { stream });
        first!.free(stream);
        CudartSimulator.failCall({
          function: process.env["FINDER"]!.startsWith("reset")
            ? "cudaDeviceSynchronize"
            : "cudaEventQuery",
          nth: 1,
          error: "cudaErrorLaunchFailure",
        });
        const finders: Record<string, () => unknown> = {
          alloc: () => new AllocatedMemory(1024, "GPU"),
          stats: () => CudaMemoryManager.stats(0),
          free: () => second!.free(stream),
          reset: () => CudaMemoryManager.reset(),
          resetPinned: () => exports.PinnedMemoryManager.reset(),
        };
        const outcome = exports.outcomeOf(finders[process.env["FINDER"]!]!);
        return { errors: exports.messagesOf("error"), outcome };
      },
    );
    expect(outcome).toBe("OK");
    expect(errors).toEqual([expect.stringContaining("returned cudaErrorLaunchFailure (719)")]);
  });

  test("a Worker's finding is everybody's, and free(stream) succeeds that finds it out", () => {
    const result = runWithPackage(simulator, ({ CudartSimulator, CudaStream, ...exports }) => {
      exports.createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 1 << 20, 1: 0 } });
      const stream = new CudaStream(0);
      const memory = new exports.AllocatedMemory(512, "GPU");
      CudartSimulator.failCall({ function: "cudaEventRecord", nth: 1, error: "cudaErrorAssert" });
      const outcome = exports.outcomeOf(() => memory.free(stream));
      const { allocationCount } = exports.CudaMemoryManager.stats(0);
      return [outcome, allocationCount, exports.messagesOf("error").length];
    });
    expect(result).toEqual(["OK", 0, 1]);
  });

  test("requests that may not fall back are refused, those that wait among them", () => {
    const result = runWithPackage(simulator, async ({ CudartSimulator, ...exports }) => {
      const { AllocatedMemory, outcomeOf } = exports;
      exports.createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 4096, 1: 0 } });
      const memory = new AllocatedMemory(4096, "GPU");
      const account = exports.MemoryAccount.of("tenant");
      const codeOf = (promise: Promise<unknown>) =>
        promise.then(
          () => "OK",
          ({ code }) => code,
        );
      const waiting = codeOf(AllocatedMemory.allocate(512, "GPU", 0, { account }));
      CudartSimulator.failCall({ function: "cudaMemset", nth: 1, error: "cudaErrorAssert" });
      outcomeOf(() => memory.fill(1));
      const none = { fallback: "none" } as const;
      const outcomes = [
        await waiting,
        await codeOf(AllocatedMemory.allocate(512, "GPU", 0)),
        await codeOf(AllocatedMemory.allocate(512, "GPU", 1)),
        outcomeOf(() => new AllocatedMemory(512, "GPU", 0, none)).slice(0, 11),
        outcomeOf(() => new AllocatedMemory(512, "GPU", 1, none)).slice(0, 11),
        new AllocatedMemory(512, "GPU", 0, { fallback: "pinned" }).memoryType,
      ];
      return [...outcomes, account.stats("GPU", 0).allocationCount];
    });
    const lost = "DEVICE_LOST";
    expect(result).toEqual([lost, lost, lost, lost, lost, "CPU_PINNED", 0]);
  });

  test.each([46, 2, 999])("error %d does not end it", (error) => {
    const result = runWithPackage(
      { ...simulator, CUDART_SIM_FAULTS: `cudaMemset:1:${error}` },
      ({ AllocatedMemory, ...exports }) => {
        exports.createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 1 << 20, 1: 0 } });
        const memory = new AllocatedMemory(512, "GPU");
        const outcomes = [1, 2].map(() => exports.outcomeOf(() => memory.fill(1)).slice(0, 8));
        return [...outcomes, exports.cudaStatus(), exports.messagesOf("error").length];
      },
    );
    expect(result).toEqual(["INTERNAL", "OK", "ready", 0]);
  });

  test("cudaStatus() is absent without a GPU", () => {
    const absent = { ...simulator, CUDART_SIM_DEVICES: "none" };
    expect(runWithPackage(absent, ({ cudaStatus }) => cudaStatus())).toBe("absent");
  });
});
