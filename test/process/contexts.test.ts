// A context takes hundreds of megabytes of a GPU's memory, so it is made only where something is done.

import { describe, expect, test } from "bun:test";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";

const simulator = {
  BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
  CUDART_SIM_DEVICES: "8.0:1073741824,8.0:1073741824,8.0:1073741824",
};

type Package = Parameters<typeof runWithPackage>[1] extends (exports: infer E) => unknown
  ? E
  : never;

describe("a context", () => {
  const contextsAfter = (use: (exports: Package) => unknown) =>
    runWithPackage(
      simulator,
      new Function(
        "exports",
        `(${use})(exports); return [0, 1, 2].filter((gpu) => exports.CudartSimulator.hasContext(gpu));`,
      ) as (exports: Package) => number[],
    );

  test("is made on no GPU where nothing is done there", () => {
    expect(
      contextsAfter(({ createMemoryManagers, cudaStatus, getSupportedGpus, pointerAttributes }) => {
        cudaStatus();
        getSupportedGpus();
        pointerAttributes(4096 as Parameters<typeof pointerAttributes>[0]);
        createMemoryManagers({
          cudaMemoryPoolByteSize: { 0: 0, 1: 0, 2: 0 },
          pinnedMemoryPoolByteSize: 0,
        });
      }),
    ).toEqual([]);
  });

  test("is made on the GPU that has a pool", () => {
    expect(
      contextsAfter(({ AllocatedMemory, CudaMemoryManager, pointerAttributes }) => {
        CudaMemoryManager.create({ memoryPoolByteSize: { 1: 1 << 20 } });
        const memory = new AllocatedMemory(100, "GPU", 1);
        memory.fill(1);
        memory.read(new Uint8Array(100));
        pointerAttributes(memory.pointer!);
        memory.free();
        CudaMemoryManager.reset();
      }),
    ).toEqual([1]);
  });

  test("is made on the GPU whose memory is asked for", () => {
    expect(contextsAfter(({ getDeviceMemory }) => getDeviceMemory(2))).toEqual([2]);
  });

  test("is made on the GPU that has a stream, whatever is done with it", () => {
    expect(
      contextsAfter(({ AllocatedMemory, createMemoryManagers, CudaStream, copyBuffer }) => {
        const managers = createMemoryManagers({
          cudaMemoryPoolByteSize: { 0: 0, 1: 0, 2: 1 << 20 },
        });
        const stream = new CudaStream(2);
        const memory = new AllocatedMemory(100, "GPU", 2, { stream });
        const pinned = new AllocatedMemory(100, "CPU_PINNED");
        copyBuffer(memory, pinned, { stream });
        memory.free(stream);
        stream.isDone();
        stream.synchronize();
        stream[Symbol.dispose]();
        managers[Symbol.dispose]();
      }),
    ).toEqual([2]);
  });

  test("that the thread had pushed or chosen is the same afterwards", () => {
    const devices = runWithPackage(simulator, ({ CudaMemoryManager, ...exports }) => {
      CudaMemoryManager.create({ memoryPoolByteSize: { 0: 1 << 20, 1: 1 << 20 } });
      const runtime = exports.cudart()!;
      const current = () => {
        const device = new Int32Array(1);
        runtime.cudaGetDevice(device);
        return device[0];
      };
      const memory = new exports.AllocatedMemory(100, "GPU", 1);
      const found = [current()];
      runtime.cudaSetDevice(2);
      memory.fill(1);
      found.push(current());
      for (const name of ["cudaMemset", "cuCtxPopCurrent_v2"]) {
        exports.CudartSimulator.failCall({ function: name as "cudaMemset", nth: 1, error: 2 });
        exports.outcomeOf(() => memory.fill(1));
        found.push(current());
      }
      return found;
    });
    expect(devices).toEqual([0, 2, 2, 2]);
  });
});
