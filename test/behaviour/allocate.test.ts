import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  CudaMemoryManager,
  CudaStream,
  MemoryAccount,
  MemoryError,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError, rejectionOf } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { untyped } from "../support/values.ts";
import { inWorker } from "./in-worker.ts";
import type { WaitingResult, WaitingTask } from "./waiting-worker.ts";

resetAfterEach();

const [gpu = 0] = gpus;

function createManagers(cudaByteSize = 4096, pinnedByteSize = 4096): void {
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: pinnedByteSize });
  CudaMemoryManager.create({ memoryPoolByteSize: { [gpu]: cudaByteSize } });
}

/** Whether the promise is pending after all that is under way has had its turn. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol();
  await Bun.sleep(5);
  return (await Promise.race([promise, pending])) === pending;
}

const places = [
  ["GPU", gpu, () => CudaMemoryManager.stats(gpu)],
  ["CPU_PINNED", 0, () => PinnedMemoryManager.stats()],
] as const;

describe.each(places)("a request that waits for %s memory", (type, id, stats) => {
  test("is served at once where there is room", async () => {
    createManagers();
    using memory = await AllocatedMemory.allocate(1000, type, id);
    expect(memory).toMatchObject({ totalByteSize: 1000, memoryType: type, memoryTypeId: id });
    expect(stats()).toMatchObject({ allocationCount: 1, waitingCount: 0 });
  });

  test("waits until somebody frees enough", async () => {
    createManagers();
    const held = [1, 2].map(() => new AllocatedMemory(2048, type, id));
    const request = AllocatedMemory.allocate(4096, type, id);
    expect(stats().waitingCount).toBe(1);
    held[0]!.free();
    expect(await isPending(request)).toBeTrue();
    held[1]!.free();
    using memory = await request;
    expect(memory.totalByteSize).toBe(4096);
    expect(stats().waitingCount).toBe(0);
  });

  test("keeps its place: those who come later, or do not wait, get nothing before", async () => {
    createManagers();
    const held = new AllocatedMemory(2048, type, id);
    const order: string[] = [];
    const large = AllocatedMemory.allocate(4096, type, id).then((memory) => {
      order.push("large");
      memory.free();
    });
    const small = AllocatedMemory.allocate(512, type, id).then((memory) => {
      order.push("small");
      memory.free();
    });
    expect(stats()).toMatchObject({ waitingCount: 2, freeByteSize: 2048 });
    const message = expectMemoryError("OUT_OF_MEMORY", () => {
      new AllocatedMemory(512, type, id, { fallback: "none" });
    });
    expect(message).toContain("others wait");
    using fallen = new AllocatedMemory(512, type, id);
    expect(fallen.memoryType).not.toBe(type);
    expect(await isPending(small)).toBeTrue();
    held.free();
    await Promise.all([large, small]);
    expect(order).toEqual(["large", "small"]);
    using _ = new AllocatedMemory(512, type, id, { fallback: "none" });
  });

  test("that is aborted holds nothing, and holds nobody up", async () => {
    createManagers();
    using held = new AllocatedMemory(3584, type, id);
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = rejectionOf(AllocatedMemory.allocate(4096, type, id, { signal }));
    const behind = AllocatedMemory.allocate(512, type, id);
    expect(await isPending(behind)).toBeTrue();
    controller.abort(new Error("no longer"));
    expect((await aborted).message).toBe("no longer");
    using memory = await behind;
    expect(stats()).toMatchObject({ allocationCount: 2, waitingCount: 0 });
    memory.free();
    held.free();
    expect(stats().usedByteSize).toBe(0);
  });

  test("rejects with the reason of a signal that is aborted, or whose time is over", async () => {
    createManagers();
    using _ = new AllocatedMemory(4096, type, id);
    const gone = AbortSignal.abort(new Error("gone"));
    const first = await rejectionOf(AllocatedMemory.allocate(1, type, id, { signal: gone }));
    expect(first.message).toBe("gone");
    const signal = AbortSignal.timeout(5);
    const second = await rejectionOf(AllocatedMemory.allocate(1, type, id, { signal }));
    expect(second.name).toBe("TimeoutError");
    expect(stats().waitingCount).toBe(0);
  });

  test("whatever the moment of the abort, nothing is held", async () => {
    createManagers();
    for (let i = 0; i < 200; i++) {
      const held = new AllocatedMemory(4096, type, id);
      const controller = new AbortController();
      const { signal } = controller;
      const requests = [1, 2].map((count) =>
        AllocatedMemory.allocate(2048 * count, type, id, { signal }).then(
          (memory) => memory.free(),
          () => {},
        ),
      );
      if (i % 2 === 0) held.free();
      if (i % 3 === 0) await Promise.resolve();
      controller.abort();
      held.free();
      await Promise.all(requests);
    }
    expect(stats()).toMatchObject({ usedByteSize: 0, waitingCount: 0 });
  });

  test("that could never be served is refused at once", async () => {
    createManagers();
    using _ = new AllocatedMemory(4096, type, id);
    const error = await rejectionOf(AllocatedMemory.allocate(4097, type, id));
    expect(error).toMatchObject({ code: "OUT_OF_MEMORY", requestedByteSize: 4097 });
    const account = MemoryAccount.of("never");
    account.limitByteSize = 1024;
    const overLimit = await rejectionOf(AllocatedMemory.allocate(1025, type, id, { account }));
    expect(overLimit.code).toBe("OUT_OF_MEMORY");
    account.limitByteSize = Infinity;
    expect([...logged.warn, ...logged.error]).toEqual([]);
  });

  test("is refused where there is no pool, or when it goes", async () => {
    const none = await rejectionOf(AllocatedMemory.allocate(1, type, id));
    expect(none.code).toBe("UNAVAILABLE");
    createManagers();
    new AllocatedMemory(4096, type, id);
    const request = rejectionOf(AllocatedMemory.allocate(512, type, id));
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    expect((await request).code).toBe("UNAVAILABLE");
    createManagers();
    using memory = await AllocatedMemory.allocate(4096, type, id);
    expect(memory.memoryType).toBe(type);
  });

  test("falls back where it may and there is no pool, but waits for one that is full", async () => {
    using memory = await AllocatedMemory.allocate(512, type, id, { fallback: "system" });
    expect(memory.memoryType).toBe("CPU");
    PinnedMemoryManager.reset();
    createManagers();
    const held = new AllocatedMemory(4096, type, id);
    const request = AllocatedMemory.allocate(512, type, id, { fallback: "system" });
    expect(await isPending(request)).toBeTrue();
    held.free();
    using second = await request;
    expect(second.memoryType).toBe(type);
  });

  test("over its account's limit waits for that, and holds up no other's", async () => {
    createManagers();
    const account = MemoryAccount.of("waits");
    account.limitByteSize = 1024;
    const held = new AllocatedMemory(1024, type, id, { account });
    const order: number[] = [];
    const requests = [1024, 512].map((byteSize, index) =>
      AllocatedMemory.allocate(byteSize, type, id, { account }).then((memory) => {
        order.push(index);
        memory.free();
      }),
    );
    using other = await AllocatedMemory.allocate(512, type, id, { account: "another" });
    using nobodys = new AllocatedMemory(512, type, id, { fallback: "none" });
    expect([other.memoryType, nobodys.memoryType]).toEqual([type, type]);
    expect(await isPending(requests[0]!)).toBeTrue();
    // Nothing of the account is got without waiting either.
    account.limitByteSize = 1536;
    expect(await isPending(requests[0]!)).toBeTrue();
    expectMemoryError("OUT_OF_MEMORY", () => new AllocatedMemory(512, type, id, { account }));
    held.free();
    await Promise.all(requests);
    expect(order).toEqual([0, 1]);
    expect(account.stats().usedByteSize).toBe(0);
    account.limitByteSize = Infinity;
  });

  test("leaves no trace in its account's figures but that it failed", async () => {
    createManagers();
    using _ = new AllocatedMemory(4096, type, id);
    const account = MemoryAccount.of(`untouched ${type}`);
    const signal = AbortSignal.timeout(5);
    await rejectionOf(AllocatedMemory.allocate(1024, type, id, { account, signal }));
    expectMemoryError("OUT_OF_MEMORY", () => {
      new AllocatedMemory(1024, type, id, { account, fallback: "none" });
    });
    await rejectionOf(AllocatedMemory.allocate(8192, type, id, { account }));
    expect(account.stats()).toEqual({
      usedByteSize: 0,
      peakUsedByteSize: 0,
      allocationCount: 0,
      cumulativeAllocationCount: 0,
      cumulativeByteSize: 0,
      failedAllocationCount: 2,
      fallbackCount: 0,
    });
  });

  test("is refused when its account's limit is lowered below it", async () => {
    createManagers();
    const account = MemoryAccount.of(`lowered ${type}`);
    using _ = new AllocatedMemory(4096, type, id);
    const request = rejectionOf(AllocatedMemory.allocate(1024, type, id, { account }));
    const behind = AllocatedMemory.allocate(512, type, id, { account });
    account.limitByteSize = 512;
    expect((await request).code).toBe("OUT_OF_MEMORY");
    _.free();
    (await behind).free();
    account.limitByteSize = Infinity;
  });

  test("is not judged by the limit of whoever has its account's number now", async () => {
    createManagers();
    new AllocatedMemory(512, type, id, { account: `former ${type}` }).free();
    MemoryAccount.all(); // forgets it
    const others = Array.from({ length: 1100 }, (_, i) => MemoryAccount.of(`${type} other ${i}`));
    for (const other of others) other.limitByteSize = 512;
    using memory = await AllocatedMemory.allocate(1024, type, id, { account: `former ${type}` });
    expect(memory.account).toBe(`former ${type}`);
    for (const other of others) other.limitByteSize = Infinity;
  });

  test("that is aborted rejects with the reason, whatever that is, and however it may fall", async () => {
    createManagers();
    using _ = new AllocatedMemory(4096, type, id);
    const reason = new MemoryError("OUT_OF_MEMORY", "a reason like any other");
    const controller = new AbortController();
    const { signal } = controller;
    const request = AllocatedMemory.allocate(1, type, id, { signal, fallback: "system" });
    controller.abort(reason);
    expect(await rejectionOf(request)).toBe(reason);
  });

  test("that is aborted gets nothing, though another listener makes room before", async () => {
    createManagers();
    const held = new AllocatedMemory(4096, type, id);
    const controller = new AbortController();
    const { signal } = controller;
    signal.addEventListener("abort", () => held.free());
    const request = rejectionOf(AllocatedMemory.allocate(1, type, id, { signal }));
    controller.abort(new Error("too late"));
    expect((await request).message).toBe("too late");
    expect(stats().usedByteSize).toBe(0);
  });

  test("survives a signal that does not do what signals do", async () => {
    createManagers();
    const listeners: (() => void)[] = [];
    const signal = {
      aborted: false,
      reason: new Error("again"),
      addEventListener: (_: string, listener: () => void) => void listeners.push(listener),
      removeEventListener() {
        throw new Error("not here");
      },
    };
    const held = new AllocatedMemory(4096, type, id);
    const request = AllocatedMemory.allocate(1, type, id, { signal: untyped(signal) });
    held.free();
    using memory = await request;
    for (const listener of listeners) listener();
    expect(memory.totalByteSize).toBe(1);
    expect(stats().allocationCount).toBe(1);
  });

  test("is served when its account's limit is raised", async () => {
    createManagers();
    const account = MemoryAccount.of("raised");
    account.limitByteSize = 1024;
    using _ = new AllocatedMemory(1024, type, id, { account });
    const request = AllocatedMemory.allocate(1024, type, id, { account });
    expect(await isPending(request)).toBeTrue();
    account.limitByteSize = Infinity;
    using memory = await request;
    expect(memory.account).toBe("raised");
  });
});

describe("allocate", () => {
  test("never waits for ordinary memory, and for nothing where no bytes are asked for", async () => {
    createManagers();
    using _ = new AllocatedMemory(4096, "CPU_PINNED");
    using ordinary = await AllocatedMemory.allocate(512, "CPU");
    expect(ordinary.memoryType).toBe("CPU");
    using empty = await AllocatedMemory.allocate(0, "GPU", gpu);
    expect(empty.totalByteSize).toBe(0);
  });

  test.each([
    [[-1, "GPU", 0]],
    [[1, "gpu", 0]],
    [[1, "GPU", -1]],
    [[1, "GPU", 0, null]],
    [[1, "GPU", 0, { signal: {} }]],
    [[1, "GPU", 0, { timeout: 1 }]],
    [[1, "GPU", 0, { account: 1 }]],
    [[1, "GPU", 0, { fallback: "gpu" }]],
    [[1, "GPU", 0, { stream: {} }]],
  ])("rejects with INVALID_ARG for %p", async (args) => {
    createManagers();
    const allocate = AllocatedMemory.allocate as (...args: unknown[]) => Promise<AllocatedMemory>;
    const error = await rejectionOf(allocate(...(untyped(args) as unknown[])));
    expect(error.code).toBe("INVALID_ARG");
  });

  test("has at once what the request's own stream was given back", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    new AllocatedMemory(4096, "GPU", gpu).free(stream);
    using memory = await AllocatedMemory.allocate(4096, "GPU", gpu, { stream });
    expect(memory.memoryType).toBe("GPU");
  });

  test("finds memory that was dropped", async () => {
    createManagers();
    (() => void new AllocatedMemory(4096, "GPU", gpu))();
    await Bun.sleep(1); // the end of the job that made it
    using memory = await AllocatedMemory.allocate(4096, "GPU", gpu);
    expect(memory.memoryType).toBe("GPU");
    expect(logged.warn.length).toBe(1);
  });

  test("forgets what a thread waits for that ends, and serves those behind it", async () => {
    createManagers();
    const held = new AllocatedMemory(4096, "GPU", gpu);
    const counters = new SharedArrayBuffer(12);
    const task: WaitingTask = { gpu, byteSize: 4096, counters, requestCount: 5 };
    const worker = new Worker(new URL("waiting-worker.ts", import.meta.url));
    worker.postMessage(task);
    while (CudaMemoryManager.stats(gpu).waitingCount < 5) await Bun.sleep(1);
    const behind = AllocatedMemory.allocate(4096, "GPU", gpu, { account: "behind" });
    worker.terminate();
    while (CudaMemoryManager.stats(gpu).waitingCount > 1) await Bun.sleep(1);
    held.free();
    using memory = await behind;
    expect(memory.memoryType).toBe("GPU");
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({ allocationCount: 1, waitingCount: 0 });
  });

  test("serves a hundred requests of four threads in the order in which they were made", async () => {
    createManagers();
    const counters = new SharedArrayBuffer(12);
    const held = new AllocatedMemory(4096, "GPU", gpu);
    const task: WaitingTask = { gpu, byteSize: 4096, counters, requestCount: 25 };
    const results = [1, 2, 3, 4].map(() => inWorker<WaitingResult>("waiting-worker.ts", task));
    while (CudaMemoryManager.stats(gpu).waitingCount < 100) await Bun.sleep(1);
    held.free();
    const served = (await Promise.all(results)).flat();
    expect(served.length).toBe(100);
    expect(served.filter(([asked, place]) => asked !== place)).toEqual([]);
    expect(CudaMemoryManager.stats(gpu)).toMatchObject({ usedByteSize: 0, waitingCount: 0 });
  });
});
