// Machines without a GPU, without a driver, or without a CUDA runtime.

import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cudartCandidates } from "../../src/native/cudart-search.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { cudartPath } from "../support/toolkit.ts";
import { type runWithPackage as Run, runWithPackage } from "../support/package.ts";

/** What a server sees that starts, and asks for memory, on a machine that gives it no GPU. */
const startAndAllocate = (async ({
  AllocatedMemory,
  CudaMemoryManager,
  PinnedMemoryManager,
  createMemoryManagers,
  getSupportedGpus,
  messagesOf,
  nonpinnedCount,
  outcomeOf,
  pointerAttributes,
}) => {
  const gpus = getSupportedGpus();
  const managers = createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 4096 } });
  const memory = new AllocatedMemory(1000, "GPU", 0);
  const { memoryType, memoryTypeId, totalByteSize } = memory;
  memory.write(new Uint8Array(1000).fill(7));
  const back = new Uint8Array(1000);
  memory.read(back);
  const attributes = pointerAttributes(memory.pointer!);
  const cudaAlloc = outcomeOf(() => CudaMemoryManager.alloc(1, 0));
  const pinnedByteSize = PinnedMemoryManager.totalByteSize;
  const liveCount = nonpinnedCount();
  memory.free();
  managers[Symbol.dispose]();
  return {
    gpus,
    memory: { memoryType, memoryTypeId, totalByteSize },
    isIntact: back.every((byte) => byte === 7),
    attributes,
    cudaAlloc,
    pinnedByteSize,
    liveCounts: [liveCount, nonpinnedCount()],
    warnings: messagesOf("warn"),
    errors: messagesOf("error"),
  };
}) satisfies Parameters<typeof Run>[1];

const inSystemMemory = {
  gpus: [],
  memory: { memoryType: "CPU", memoryTypeId: 0, totalByteSize: 1000 },
  isIntact: true,
  attributes: { type: "unregistered", device: -2 },
  pinnedByteSize: 0,
  liveCounts: [1, 0],
} as const;

describe("without a GPU everything falls back to system memory", () => {
  test("on a simulated machine that has none", () => {
    const result = runWithPackage(
      { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath, CUDART_SIM_DEVICES: "none" },
      startAndAllocate,
    );
    expect(result).toMatchObject(inSystemMemory);
    expect(result.cudaAlloc).toStartWith("UNAVAILABLE");
    expect(result.errors).toEqual([]);
    expect(result.warnings).toHaveLength(4);
    expect(result.warnings[0]).toContain("cudaHostAlloc returned cudaErrorNoDevice (100)");
    expect(result.warnings[1]).toContain("GPU 0");
    expect(result.warnings[2]).toContain("falling back to pinned system memory");
    expect(result.warnings[3]).toContain("falling back to non-pinned system memory");
  });

  test("with a driver that is too old", () => {
    const result = runWithPackage(
      {
        BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
        CUDART_SIM_DEVICES: "none",
        CUDART_SIM_FAULTS: "cudaGetDeviceCount:1:35",
      },
      ({ getSupportedGpus, messagesOf }) => [getSupportedGpus(), messagesOf("error")],
    );
    expect(result).toEqual([[], []]);
  });

  test.each([
    ["a file that is not there", "/nonexistent/libcudart.so"],
    ["a folder", tmpdir()],
    ["a library that is not CUDA's", "libc.so.6"],
    ["a text file", import.meta.path],
  ])("with BUN_CUDA_MEMORY_CUDART naming %s, and an error says so", (_, path) => {
    const result = runWithPackage({ BUN_CUDA_MEMORY_CUDART: path }, startAndAllocate);
    expect(result).toMatchObject(inSystemMemory);
    expect(result.errors).toHaveLength(1);
    expect(result.errors[0]).toContain("BUN_CUDA_MEMORY_CUDART names");
    expect(result.errors[0]).toContain(path);
    expect(result.warnings[0]).toContain("there is no CUDA runtime");
  });

  test.skipIf(cudartPath === undefined || existsSync("/dev/nvidiactl"))(
    "with the real CUDA runtime and no driver (skipped where there is no libcudart, or a driver)",
    () => {
      const result = runWithPackage({ BUN_CUDA_MEMORY_CUDART: cudartPath! }, startAndAllocate);
      expect(result).toMatchObject(inSystemMemory);
      expect(result.errors).toEqual([]);
      expect(result.warnings[0]).toContain("cudaHostAlloc returned cudaErrorInsufficientDriver");
    },
  );

  test("the simulator is never used unless it is asked for", () => {
    const runtimes = runWithPackage({}, ({ getSupportedGpus, messagesOf }) => {
      getSupportedGpus();
      return messagesOf("info");
    });
    expect(runtimes.join("\n")).not.toContain("sim");
    expect(runtimes.at(-1)).toMatch(/^(no CUDA runtime|CUDA runtime: .*libcudart\.so)/);
  });
});

describe("the search for a CUDA runtime", () => {
  function inFolder(use: (folder: string) => void): void {
    const folder = mkdtempSync(join(tmpdir(), "cudart-search-"));
    try {
      use(folder);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }

  function place(path: string): string {
    Bun.spawnSync(["mkdir", "-p", join(path, "..")]);
    writeFileSync(path, "");
    return path;
  }

  test("takes what the loader finds first, then folders, the newest CUDA first", () => {
    inFolder((folder) => {
      const paths = [
        place(join(folder, "home/lib64/libcudart.so.13")),
        place(join(folder, "home/targets/sbsa-linux/lib/libcudart.so.13")),
        place(join(folder, "conda/lib/libcudart.so.13")),
        place(join(folder, "conda/lib/python3.12/site-packages/nvidia/cu13/lib/libcudart.so.13")),
        place(join(folder, "path/lib/libcudart.so.12")),
        place(
          join(folder, "venv/lib/python3.9/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12"),
        ),
        place(join(folder, "path/lib/libcudart.so.11.0")),
      ];
      const environment = {
        CUDA_HOME: join(folder, "home"),
        CUDA_PATH: join(folder, "path"),
        VIRTUAL_ENV: join(folder, "venv"),
        CONDA_PREFIX: join(folder, "conda"),
      };
      const loaderPath = (soname: string) =>
        soname === "libcudart.so.12" ? "/loader/libcudart.so.12" : null;
      const candidates = [...cudartCandidates(environment, loaderPath)];
      expect(candidates[0]).toBe("/loader/libcudart.so.12");
      expect(candidates.filter((path) => path.startsWith(folder))).toEqual(paths);
    });
  });

  test("finds nothing where there is nothing, without a complaint", () => {
    const environment = { CUDA_HOME: "/nonexistent", CONDA_PREFIX: "" };
    const candidates = [...cudartCandidates(environment, () => null)];
    expect(candidates.filter((path) => !path.startsWith("/usr/local/cuda"))).toEqual([]);
  });

  test("does not look in the current directory", () => {
    inFolder((folder) => {
      symlinkSync(simulatorLibraryPath, join(folder, "libcudart.so.13"));
      const program = `
        import { getSupportedGpus } from ${JSON.stringify(join(import.meta.dir, "../../src/index.ts"))};
        console.log(JSON.stringify(getSupportedGpus(99)));
        const maps = await Bun.file("/proc/self/maps").text();
        console.log(maps.includes("libcudart_sim"));
      `;
      const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", program], {
        cwd: folder,
        env: { ...process.env, BUN_CUDA_MEMORY_CUDART: undefined },
      });
      expect(stderr.toString()).toBe("");
      expect(stdout.toString()).toBe("[]\nfalse\n");
    });
  });
});
