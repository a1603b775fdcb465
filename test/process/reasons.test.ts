// What is said where memory that was asked for cannot be had: the reason, and what helps.

import { describe, expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";
import { inTemporaryFolder } from "../support/temporary-folder.ts";
import { cCompiler } from "../support/toolkit.ts";

const simulator = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };

/** Warnings of a server that starts without a pinned pool. */
const startWithoutPinnedMemory = (environment: Record<string, string>) =>
  runWithPackage(environment, ({ createMemoryManagers, messagesOf }) => {
    createMemoryManagers({ pinnedMemoryPoolByteSize: 0 });
    return messagesOf("warn");
  });

const poolOnGpu = (environment: Record<string, string>) =>
  runWithPackage(environment, ({ CudaMemoryManager, messagesOf }) => {
    CudaMemoryManager.create({ memoryPoolByteSize: { 3: 1024 } });
    return messagesOf("warn");
  });

describe("the reason why there is no pool", () => {
  const reasons: [name: string, environment: Record<string, string>, reason: RegExp][] = [
    [
      "a driver that is too old",
      {
        ...simulator,
        CUDART_SIM_DEVICES: "none",
        CUDART_SIM_FAULTS: "cudaGetDeviceCount:1:35",
      },
      /too old .*driver's version: (CUDA \d+\.\d+|none), the runtime's: CUDA \d+\.\d+; .*cudaErrorInsufficientDriver \(35\)/,
    ],
    [
      "a stub of a driver",
      {
        ...simulator,
        CUDART_SIM_DEVICES: "none",
        CUDART_SIM_FAULTS: "cudaGetDeviceCount:1:34",
      },
      /driver is a stub.*driver's version: .*the runtime's: .*cudaErrorStubLibrary \(34\)/,
    ],
    [
      "no device",
      { ...simulator, CUDART_SIM_DEVICES: "none" },
      /finds no GPU .*the runtime's: .*cudaErrorNoDevice \(100\)/,
    ],
    [
      "a library that cannot be loaded",
      { BUN_CUDA_MEMORY_CUDART: "/nonexistent/libcudart.so" },
      /BUN_CUDA_MEMORY_CUDART names \/nonexistent\/libcudart.so, which cannot be loaded/,
    ],
  ];

  test.each(reasons)("is told: %s", (_, environment, reason) => {
    const warnings = startWithoutPinnedMemory(environment);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/^bun-cuda-memory: no CUDA memory pools: /);
    expect(warnings[0]).toMatch(reason);
    const [onGpu] = poolOnGpu(environment);
    expect(onGpu).toStartWith("bun-cuda-memory: no CUDA memory pool of 1024 bytes on GPU 3: ");
    expect(onGpu).toMatch(reason);
  });

  test("is a lone GPU's capability, with the option that helps", () => {
    const environment = { ...simulator, CUDART_SIM_DEVICES: "5.3:1048576" };
    const reason =
      "its compute capability 5.3 is below 6.0, which minSupportedComputeCapability " +
      "(--min-supported-compute-capability) can lower";
    expect(startWithoutPinnedMemory(environment)).toEqual([
      `bun-cuda-memory: no CUDA memory pools: GPU 0: ${reason}`,
    ]);
    const warnings = runWithPackage(environment, ({ CudaMemoryManager, messagesOf }) => {
      CudaMemoryManager.create({ memoryPoolByteSize: { 0: 1024, 7: 2048 } });
      return messagesOf("warn");
    });
    expect(warnings[0]).toContain(`on GPU 0: ${reason}; supported GPUs: none`);
    expect(warnings[1]).toContain("on GPU 7: there is no GPU 7: CUDA has 1");
  });

  test("is added to what pinned memory fails with", () => {
    const warnings = runWithPackage(
      { BUN_CUDA_MEMORY_CUDART: "/nonexistent" },
      ({ PinnedMemoryManager, messagesOf }) => {
        PinnedMemoryManager.create();
        return messagesOf("warn");
      },
    );
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain("there is no CUDA runtime: BUN_CUDA_MEMORY_CUDART names");
  });

  test("is nothing where nobody asked for a pool", () => {
    const environment = { ...simulator, CUDART_SIM_DEVICES: "none" };
    const warnings = runWithPackage(environment, ({ createMemoryManagers, messagesOf }) => {
      createMemoryManagers({ pinnedMemoryPoolByteSize: 0, cudaMemoryPoolByteSize: { 0: 0 } });
      return messagesOf("warn");
    });
    expect(warnings).toEqual([]);
  });
});

test("a GPU that cannot be asked is left out, with an error, and costs no other its pool", () => {
  const environment = {
    ...simulator,
    CUDART_SIM_DEVICES: "8.0:268435456,9.0:268435456",
    CUDART_SIM_FAULTS: "cudaDeviceGetAttribute:1:101",
  };
  const [gpus, errors] = runWithPackage(environment, ({ getSupportedGpus, messagesOf }) => [
    getSupportedGpus(),
    messagesOf("error"),
  ]);
  expect(gpus).toEqual([1]);
  expect(errors).toEqual([
    expect.stringMatching(/^bun-cuda-memory: GPU 0 is left out: .*cudaErrorInvalidDevice \(101\)/),
  ]);
});

test("GPUs beyond those that there is room for are left out, with an error", () => {
  inTemporaryFolder((folder) => {
    const path = join(folder, "libmany_gpus.so");
    const source = join(import.meta.dir, "many_gpus.c");
    const { exitCode, stderr } = Bun.spawnSync([
      cCompiler!,
      "-shared",
      "-fPIC",
      source,
      "-o",
      path,
      "-Wl,--no-as-needed",
      simulatorLibraryPath,
      `-Wl,-rpath,${dirname(simulatorLibraryPath)}`,
    ]);
    expect({ exitCode, stderr: stderr.toString() }).toEqual({ exitCode: 0, stderr: "" });
    const [gpus, errors, warnings] = runWithPackage({ BUN_CUDA_MEMORY_CUDART: path }, (memory) => {
      const gpus = memory.getSupportedGpus();
      const errors = memory.messagesOf("error");
      memory.CudaMemoryManager.create({ memoryPoolByteSize: { 130: 1024, 135: 1024 } });
      memory.CudaMemoryManager.reset();
      memory.createMemoryManagers({ pinnedMemoryPoolByteSize: 0 })[Symbol.dispose]();
      new memory.AllocatedMemory(8, "GPU", 130).free();
      return [gpus, errors, memory.messagesOf("warn")] as const;
    });
    expect(gpus).toEqual(Array.from({ length: 128 }, (_, deviceId) => deviceId));
    expect(errors).toEqual([
      "bun-cuda-memory: CUDA has 135 GPUs; those from GPU 128 on are left out",
    ]);
    expect(warnings[0]).toContain("on GPU 130: no more than 128 GPUs can have a pool");
    expect(warnings[1]).toContain("on GPU 135: there is no GPU 135: CUDA has 135");
  });
});
