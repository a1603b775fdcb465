import { describe, expect, test } from "bun:test";
import { PinnedMemoryManager, pointerAttributes } from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { logged, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, pointerPlus, untyped } from "../support/values.ts";

resetAfterEach();

const strict = { allowNonpinnedFallback: false };

function createPool(pinnedMemoryPoolByteSize: number): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize });
}

describe("create", () => {
  test("reserves 256 MiB by default", () => {
    PinnedMemoryManager.create();
    expect(PinnedMemoryManager.totalByteSize).toBe(268435456);
    expect(PinnedMemoryManager.usedByteSize).toBe(0);
  });

  test("a pool that the machine has no memory for is a warning, and requests fall back", () => {
    createPool(2 ** 46);
    expect(logged.warn).toHaveLength(1);
    expect(logged.warn[0]).toContain("70368744177664 bytes");
    expect(logged.warn[0]).toContain("cudaHostAlloc returned");
    expect(PinnedMemoryManager.totalByteSize).toBe(0);
    const { pointer, memoryType } = PinnedMemoryManager.alloc(1024);
    expect(memoryType).toBe("CPU");
    PinnedMemoryManager.free(pointer);
    const message = expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.alloc(1, strict));
    expect(message).toContain("there is no pinned memory pool");
  });

  test("size 0 disables the pool without a warning", () => {
    createPool(0);
    expect(logged.warn).toEqual([]);
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.alloc(1, strict));
    expect(PinnedMemoryManager.stats().capacityByteSize).toBe(0);
  });

  test("a second call warns and changes nothing", () => {
    createPool(1024);
    createPool(4096);
    expect(logged.warn).toEqual([
      "bun-cuda-memory: the pinned memory manager has been created already; it stays as it is",
    ]);
    expect(PinnedMemoryManager.totalByteSize).toBe(1024);
  });

  test("bad options are refused and make nothing", () => {
    for (const value of notWholeNumbers.filter((value) => value !== undefined && value !== null)) {
      expectMemoryError("INVALID_ARG", () =>
        PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: untyped(value) }),
      );
    }
    expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.create(untyped(5)));
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.alloc(1));
  });
});

describe("alloc and free", () => {
  test("before create both are unavailable, and the totals are 0", () => {
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.alloc(1));
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.free(untyped(512)));
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.stats());
    expect(PinnedMemoryManager.totalByteSize).toBe(0);
    expect(PinnedMemoryManager.usedByteSize).toBe(0);
  });

  test("memory of the pool is pinned, at a multiple of 512", () => {
    createPool(64 * 1024);
    for (let i = 0; i < 20; i++) {
      const { pointer, memoryType } = PinnedMemoryManager.alloc(1 + i * 100, strict);
      expect(memoryType).toBe("CPU_PINNED");
      expect(pointer % 512).toBe(0);
      expect(pointerAttributes(pointer).type).toBe("host");
    }
  });

  test("where the pool cannot serve, memory is not pinned", () => {
    createPool(1024);
    const { pointer, memoryType } = PinnedMemoryManager.alloc(2048);
    expect(memoryType).toBe("CPU");
    expect(pointer % 512).toBe(0);
    expect(pointerAttributes(pointer).type).toBe("unregistered");
    expect(PinnedMemoryManager.usedByteSize).toBe(0);
    PinnedMemoryManager.free(pointer);
    expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.free(pointer));
  });

  test("without fallback it is an error that says what the pool has left", () => {
    createPool(1024);
    const message = expectMemoryError("OUT_OF_MEMORY", () =>
      PinnedMemoryManager.alloc(2048, strict),
    );
    expect(message).toContain("2048 bytes of pinned system memory");
    expect(message).toContain("1024 of 1024 bytes free, largest free block 1024 bytes");
    expect(PinnedMemoryManager.usedByteSize).toBe(0);
    expect(PinnedMemoryManager.stats().failedAllocationCount).toBe(1);
  });

  test("freed memory can be allocated again", () => {
    createPool(1024);
    const { pointer } = PinnedMemoryManager.alloc(600, strict);
    expectMemoryError("OUT_OF_MEMORY", () => PinnedMemoryManager.alloc(512, strict));
    PinnedMemoryManager.free(pointer);
    expect(PinnedMemoryManager.alloc(512, strict).memoryType).toBe("CPU_PINNED");
    expect(PinnedMemoryManager.usedByteSize).toBe(512);
  });

  test("a request that no memory can serve is an error even with fallback", () => {
    createPool(1024);
    const message = expectMemoryError("OUT_OF_MEMORY", () =>
      PinnedMemoryManager.alloc(Number.MAX_SAFE_INTEGER),
    );
    expect(message).toContain("9007199254740991 bytes");
  });

  test("every wrong free is refused and frees nothing", () => {
    createPool(8192);
    const { pointer: freed } = PinnedMemoryManager.alloc(512);
    PinnedMemoryManager.free(freed);
    const { pointer: live } = PinnedMemoryManager.alloc(1024);
    const { pointer: nonpinned } = PinnedMemoryManager.alloc(100_000);
    const wrong = [
      pointerPlus(live, 512),
      pointerPlus(live, 1),
      pointerPlus(live, 4096),
      pointerPlus(nonpinned, 512),
      untyped<typeof live>(512),
    ];
    for (const pointer of wrong) {
      expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.free(pointer));
      expect(PinnedMemoryManager.usedByteSize).toBe(1024);
    }
    PinnedMemoryManager.free(live);
    PinnedMemoryManager.free(nonpinned);
    expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.free(live));
  });

  test("bad arguments are refused and change nothing", () => {
    createPool(8192);
    for (const value of [...notWholeNumbers, 0]) {
      expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.alloc(untyped(value)));
      expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.free(untyped(value)));
    }
    expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.alloc(1, untyped(true)));
    expectMemoryError("INVALID_ARG", () =>
      PinnedMemoryManager.alloc(1, { allowNonpinnedFallback: untyped("no") }),
    );
    expect(PinnedMemoryManager.stats().allocationCount).toBe(0);
  });
});

describe("reset", () => {
  test("frees the pool and the fallbacks; create may follow", () => {
    createPool(1024);
    const { pointer } = PinnedMemoryManager.alloc(512);
    const { pointer: nonpinned } = PinnedMemoryManager.alloc(4096);
    PinnedMemoryManager.reset();
    expect(pointerAttributes(pointer).type).toBe("unregistered");
    expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.free(pointer));
    createPool(2048);
    expect(PinnedMemoryManager.totalByteSize).toBe(2048);
    expectMemoryError("INVALID_ARG", () => PinnedMemoryManager.free(nonpinned));
  });
});
