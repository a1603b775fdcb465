import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  CudaMemoryManager,
  MemoryAccount,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { untyped } from "../support/values.ts";
import { inWorker } from "./in-worker.ts";
import type { AccountResult, AccountTask } from "./account-worker.ts";

resetAfterEach();

const [gpu = 0] = gpus;
const mebibyte = 1024 * 1024;

function createManagers(cudaByteSize = mebibyte, pinnedByteSize = mebibyte): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: cudaByteSize } });
}

let accountCount = 0;

/** An account that no other test has. */
function newAccount(): MemoryAccount {
  return MemoryAccount.of(`test ${++accountCount}`);
}

const nothing = {
  usedByteSize: 0,
  peakUsedByteSize: 0,
  allocationCount: 0,
  cumulativeAllocationCount: 0,
  cumulativeByteSize: 0,
  failedAllocationCount: 0,
  fallbackCount: 0,
};

describe("an account", () => {
  test("is one for each name", () => {
    const account = newAccount();
    expect(account).toBeInstanceOf(MemoryAccount);
    expect(MemoryAccount.of(account.name)).toBe(account);
    expect(MemoryAccount.all()).toContain(account);
    expect(MemoryAccount.of(`${account.name} and another`)).not.toBe(account);
    expect(account.limitByteSize).toBe(Infinity);
    expect(account.stats()).toEqual(nothing);
  });

  test.each(["ß", "日本語", " ", "a".repeat(1024), "__proto__", "constructor"])(
    "may have the name %p",
    (name) => {
      expect(MemoryAccount.of(name).name).toBe(name);
      expect(MemoryAccount.all().map((account) => account.name)).toContain(name);
    },
  );

  test.each([["", "a\0b", "\ud800", "a".repeat(1025), 7, null, undefined, {}, ["a"]]])(
    "cannot have another name",
    (...names) => {
      for (const name of names) {
        expectMemoryError("INVALID_ARG", () => MemoryAccount.of(untyped(name)));
      }
    },
  );

  test("counts what its requests get, by kind of memory and in all", () => {
    createManagers();
    const account = newAccount();
    using cuda = new AllocatedMemory(1000, "GPU", gpu, { account });
    using pinned = new AllocatedMemory(512, "CPU_PINNED", 0, { account: account.name });
    expect([cuda.account, pinned.account]).toEqual([account.name, account.name]);
    const one = { ...nothing, allocationCount: 1, cumulativeAllocationCount: 1 };
    const of = (byteSize: number) => ({
      usedByteSize: byteSize,
      peakUsedByteSize: byteSize,
      cumulativeByteSize: byteSize,
    });
    expect(account.stats("GPU", gpu)).toEqual({ ...one, ...of(1024) });
    expect(account.stats("CPU_PINNED")).toEqual({ ...one, ...of(512) });
    expect(account.stats("CPU")).toEqual(nothing);
    expect(account.stats("GPU", gpu + 1)).toEqual(nothing);
    expect(account.stats()).toEqual({
      ...nothing,
      ...of(1536),
      allocationCount: 2,
      cumulativeAllocationCount: 2,
    });
    cuda.free();
    expect(account.stats()).toMatchObject({ usedByteSize: 512, peakUsedByteSize: 1536 });
    account.resetPeak();
    expect(account.stats()).toMatchObject({ peakUsedByteSize: 512, cumulativeByteSize: 1536 });
    expect(account.stats("GPU", gpu).peakUsedByteSize).toBe(0);
    expect(cuda.account).toBeNull();
  });

  test("counts memory of the system heap in whole granules", () => {
    const account = newAccount();
    using memory = new AllocatedMemory(1000, "CPU", 0, { account });
    expect(memory.memoryType).toBe("CPU");
    expect(account.stats("CPU").usedByteSize).toBe(1024);
  });

  test("has a limit for all kinds of memory together, beyond which nothing falls back", () => {
    createManagers();
    const account = newAccount();
    account.limitByteSize = 2000; // three granules
    using first = new AllocatedMemory(1024, "GPU", gpu, { account });
    for (const fallback of ["system", "pinned", "none"] as const) {
      for (const type of ["GPU", "CPU_PINNED", "CPU"] as const) {
        const message = expectMemoryError("OUT_OF_MEMORY", () => {
          new AllocatedMemory(513, type, type === "GPU" ? gpu : 0, { account, fallback });
        });
        expect(message).toContain(`"${account.name}" has 1024 of the 2000 bytes`);
      }
    }
    expect(account.stats().failedAllocationCount).toBe(9);
    using second = new AllocatedMemory(512, "CPU_PINNED", 0, { account });
    expect(second.totalByteSize).toBe(512);
    expect(account.limitByteSize).toBe(2000);
    expect([...logged.warn, ...logged.error]).toEqual([]);
    first.free();
    account.limitByteSize = 100; // below what is used
    expectMemoryError("OUT_OF_MEMORY", () => {
      new AllocatedMemory(1, "CPU_PINNED", 0, { account });
    });
    account.limitByteSize = Infinity;
    new AllocatedMemory(1, "CPU_PINNED", 0, { account }).free();
  });

  test("throws an error with the figures of its limit", () => {
    createManagers();
    const account = newAccount();
    account.limitByteSize = 1024;
    using _ = new AllocatedMemory(512, "GPU", gpu, { account });
    try {
      new AllocatedMemory(600, "GPU", gpu, { account });
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ requestedByteSize: 600, freeByteSize: 512 });
    }
  });

  test.each([-1, 1.5, NaN, -Infinity, "1", null, undefined, 2 ** 53])(
    "cannot have the limit %p",
    (limit) => {
      const account = newAccount();
      expectMemoryError("INVALID_ARG", () => {
        account.limitByteSize = untyped(limit);
      });
      expect(account.limitByteSize).toBe(Infinity);
    },
  );

  test("refuses what is no kind of memory", () => {
    const account = newAccount();
    for (const type of ["gpu", 2, null]) {
      expectMemoryError("INVALID_ARG", () => account.stats(untyped(type)));
    }
    expectMemoryError("INVALID_ARG", () => account.stats("GPU", -1));
  });

  test("counts fallbacks where they were asked for", () => {
    createManagers(512);
    const account = newAccount();
    using full = new AllocatedMemory(512, "GPU", gpu);
    using memory = new AllocatedMemory(512, "GPU", gpu, { account });
    expect(memory.memoryType).toBe("CPU_PINNED");
    expect(account.stats("GPU", gpu)).toEqual({ ...nothing, fallbackCount: 1 });
    expect(account.stats("CPU_PINNED")).toMatchObject({ allocationCount: 1, fallbackCount: 0 });
    expect(account.stats().fallbackCount).toBe(1);
    expect(full.account).toBeNull();
  });

  test("is credited by a reset, and keeps its past", () => {
    createManagers();
    const account = newAccount();
    const memories = (["GPU", "CPU_PINNED"] as const).map(
      (type) => new AllocatedMemory(512, type, type === "GPU" ? gpu : 0, { account }),
    );
    CudaMemoryManager.reset();
    expect(account.stats().usedByteSize).toBe(512);
    PinnedMemoryManager.reset();
    expect(account.stats()).toEqual({
      ...nothing,
      peakUsedByteSize: 1024,
      cumulativeAllocationCount: 2,
      cumulativeByteSize: 1024,
    });
    createManagers();
    for (const memory of memories) memory.free();
    expect(account.stats().usedByteSize).toBe(0);
  });

  test("stays with memory that goes to another thread", () => {
    createManagers();
    const account = newAccount();
    const handle = new AllocatedMemory(512, "GPU", gpu, { account }).detach();
    expect(account.stats().usedByteSize).toBe(512);
    using memory = AllocatedMemory.attach(handle);
    expect(memory.account).toBe(account.name);
  });

  test("is not touched by requests that are refused for their arguments", () => {
    createManagers();
    const account = newAccount();
    for (const options of [{ account: 7 }, { account: "" }, { acount: "a" }, { account: null }]) {
      expectMemoryError("INVALID_ARG", () => {
        new AllocatedMemory(512, "GPU", gpu, untyped(options));
      });
    }
    for (const others of [
      { fallback: "cpu" },
      { stream: 1 },
      { signal: undefined },
      { bytes: 1 },
    ]) {
      expectMemoryError("INVALID_ARG", () => {
        new AllocatedMemory(512, "GPU", gpu, untyped({ account, ...others }));
      });
    }
    expect(account.stats()).toEqual(nothing);
    expect(CudaMemoryManager.stats(gpu).allocationCount).toBe(0);
  });

  test("is charged whatever the options are made of", () => {
    createManagers();
    const account = newAccount();
    class Options {
      account = account;
      get fallback() {
        return "none";
      }
    }
    const hidden = Object.defineProperty({ account }, "fallback", { value: "none" });
    const ofGetter = {
      get account() {
        return account;
      },
    };
    const all = [
      new Options(),
      hidden,
      ofGetter,
      { account, stream: undefined, fallback: undefined },
      Object.assign(Object.create(null), { account }),
      new Proxy({ account }, {}),
      Object.create({ account }),
    ];
    for (const options of all) {
      using memory = new AllocatedMemory(512, "GPU", gpu, untyped(options));
      expect(memory.account).toBe(account.name);
      expect(account.stats("GPU", gpu).usedByteSize).toBe(512);
    }
    using _all = new AllocatedMemory(mebibyte, "GPU", gpu);
    // What names an account is no reason not to look at the rest.
    for (const options of [new Options(), hidden]) {
      expectMemoryError("OUT_OF_MEMORY", () => {
        new AllocatedMemory(512, "GPU", gpu, untyped(options));
      });
    }
  });

  test("that nothing needs any more is forgotten", () => {
    createManagers();
    const names = Array.from({ length: 10 }, (_, index) => `forgotten ${index}`);
    const isThere = (name: string) => MemoryAccount.all().some((account) => account.name === name);
    for (const account of names) new AllocatedMemory(512, "GPU", gpu, { account }).free();
    expect(names.filter(isThere)).toEqual([]);
    // A request with the same name opens it again.
    using memory = new AllocatedMemory(512, "GPU", gpu, { account: names[3]! });
    expect(names.filter(isThere)).toEqual([names[3]!]);
    expect(MemoryAccount.of(memory.account!).stats().cumulativeAllocationCount).toBe(1);
  });
});

describe("threads", () => {
  const run = (task: AccountTask) => inWorker<AccountResult>("account-worker.ts", task);

  test("share an account, whose limit no race passes", async () => {
    createManagers(16 * mebibyte);
    const account = newAccount();
    account.limitByteSize = 64 * 1024;
    const task = { name: account.name, gpu, stepCount: 20_000 };
    const results = await Promise.all(Array.from({ length: 8 }, (_, id) => run({ ...task, id })));
    const sum = (key: keyof AccountResult) =>
      results.reduce((total, result) => total + result[key], 0);
    expect(sum("overLimitCount")).toBe(0);
    expect(sum("refusalCount")).toBeGreaterThan(0);
    const { peakUsedByteSize, ...others } = account.stats();
    expect(peakUsedByteSize).toBeLessThanOrEqual(64 * 1024);
    expect(others).toEqual({
      usedByteSize: 0,
      allocationCount: 0,
      cumulativeAllocationCount: sum("allocationCount"),
      cumulativeByteSize: sum("allocatedByteSize"),
      failedAllocationCount: sum("refusalCount"),
      fallbackCount: 0,
    });
  });
});
