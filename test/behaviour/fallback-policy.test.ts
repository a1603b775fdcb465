import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";

resetAfterEach();

const [gpu = 0] = gpus;

function createManagers(cudaByteSize = 1024, pinnedByteSize = 1024): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: cudaByteSize } });
}

/** What a request with the policy gets: a kind of memory, or the code of an error. */
function got(type: "GPU" | "CPU_PINNED" | "CPU", fallback: "system" | "pinned" | "none"): string {
  try {
    using memory = new AllocatedMemory(1024, type, type === "GPU" ? gpu : 0, { fallback });
    return memory.memoryType;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

const policies = ["system", "pinned", "none"] as const;

describe("a request", () => {
  test("falls as far as its policy lets it", () => {
    createManagers();
    expect(policies.map((policy) => got("GPU", policy))).toEqual(["GPU", "GPU", "GPU"]);
    using _gpu = new AllocatedMemory(1024, "GPU", gpu);
    const full = "OUT_OF_MEMORY";
    expect(policies.map((policy) => got("GPU", policy))).toEqual([
      "CPU_PINNED",
      "CPU_PINNED",
      full,
    ]);
    using _pinned = new AllocatedMemory(1024, "CPU_PINNED");
    expect(policies.map((policy) => got("GPU", policy))).toEqual(["CPU", full, full]);
    expect(policies.map((policy) => got("CPU_PINNED", policy))).toEqual(["CPU", full, full]);
    expect(policies.map((policy) => got("CPU", policy))).toEqual(["CPU", "CPU", "CPU"]);
  });

  test("that may not fall back touches no other memory, and is not logged", () => {
    createManagers();
    using _ = new AllocatedMemory(1024, "GPU", gpu);
    const message = expectMemoryError("OUT_OF_MEMORY", () => {
      new AllocatedMemory(1024, "GPU", gpu, { fallback: "none" });
    });
    expect(message).toMatch(/1024 bytes of CUDA memory on GPU \d+: .*largest free block 0 bytes/);
    expect(PinnedMemoryManager.stats()).toMatchObject({
      peakUsedByteSize: 0,
      failedAllocationCount: 0,
      nonpinnedByteSize: 0,
    });
    expect([...logged.warn, ...logged.error]).toEqual([]);
  });

  test("without a pool throws UNAVAILABLE where it may not fall back", () => {
    expect(policies.map((policy) => got("GPU", policy))).toEqual([
      "CPU",
      "UNAVAILABLE",
      "UNAVAILABLE",
    ]);
    expect(got("CPU_PINNED", "none")).toBe("UNAVAILABLE");
    createManagers(0, 0);
    expect(got("GPU", "none")).toBe("UNAVAILABLE");
    expect(got("CPU_PINNED", "pinned")).toBe("UNAVAILABLE");
  });

  test("falls as far as the process lets it, unless it says otherwise", () => {
    const options = { cudaMemoryPoolByteSize: { [gpu]: 0 }, pinnedMemoryPoolByteSize: 512 };
    {
      using _ = createMemoryManagers({ ...options, fallback: "none" });
      expectMemoryError("UNAVAILABLE", () => new AllocatedMemory(512, "GPU", gpu));
      using memory = new AllocatedMemory(512, "GPU", gpu, { fallback: "pinned" });
      expect(memory.memoryType).toBe("CPU_PINNED");
    }
    using _ = createMemoryManagers(options);
    using memory = new AllocatedMemory(1024, "GPU", gpu);
    expect(memory.memoryType).toBe("CPU");
  });

  test("for ordinary memory is no fallback, and is not warned about", () => {
    createManagers();
    using _ = new AllocatedMemory(1024, "CPU_PINNED");
    using memory = new AllocatedMemory(1024, "CPU");
    expect(memory.memoryType).toBe("CPU");
    expect(logged.warn).toEqual([]);
  });
});
