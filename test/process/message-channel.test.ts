// What is published on the channel "bun-cuda-memory" of node:diagnostics_channel.

import { describe, expect, test } from "bun:test";
import type { MemoryMessage } from "../../src/index.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";

const simulator = {
  BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
  CUDART_SIM_DEVICES: "8.0:1073741824,8.0:1073741824",
};

describe("a fallback", () => {
  test("is published every time, as it was asked for, while the log warns once", () => {
    const [messages, logged, got] = runWithPackage(simulator, (memory) => {
      const { AllocatedMemory, createMemoryManagers, PinnedMemoryManager } = memory;
      createMemoryManagers({
        cudaMemoryPoolByteSize: { 0: 0, 1: 4096 },
        pinnedMemoryPoolByteSize: 8192,
      });
      const messages = memory.subscribeToMessages();
      const memories = [4096, 600, 600, 8192].map((size) => new AllocatedMemory(size, "GPU", 1));
      memories.push(new AllocatedMemory(600, "GPU", 0));
      PinnedMemoryManager.alloc(16384);
      return [messages, memory.messagesOf("warn"), memories.map((m) => m.memoryType)] as const;
    });
    expect(got).toEqual(["GPU", "CPU_PINNED", "CPU_PINNED", "CPU", "CPU_PINNED"]);
    const gpu = { event: "fallback", level: "warn", memoryType: "GPU", byteSize: 600 };
    const host = { memoryType: "CPU_PINNED", memoryTypeId: 0, byteSize: 16384 };
    expect(messages).toEqual(
      [
        { ...gpu, memoryTypeId: 1, cause: "full" },
        { ...gpu, memoryTypeId: 1, cause: "full" },
        { ...gpu, memoryTypeId: 1, cause: "too large", byteSize: 8192 },
        { ...gpu, memoryTypeId: 0, cause: "no pool" },
        { ...gpu, ...host, cause: "too large" },
      ].map((message) => ({ ...message, message: expect.any(String) }) as MemoryMessage),
    );
    const texts = messages.map(({ message }) => message);
    const known = texts[0]!.replace(" (this warning is not repeated)", "");
    const both = `${logged[1]}; ${logged[2]!.replace("bun-cuda-memory: ", "")}`;
    expect(texts).toEqual([logged[0]!, known, both, logged[3]!, logged[4]!]);
    expect(logged).toHaveLength(5);
  });

  test("to memory that is not pinned is one message, also where the log has two lines", () => {
    const [messages, logged] = runWithPackage(simulator, (memory) => {
      const messages = memory.subscribeToMessages();
      for (let i = 0; i < 3; i++) new memory.AllocatedMemory(600, "GPU", 0).free();
      return [messages, memory.messagesOf("warn")] as const;
    });
    expect(logged).toHaveLength(2);
    expect(messages.map(({ event, cause }) => [event, cause])).toEqual(
      Array.from({ length: 3 }, () => ["fallback", "no pool"]),
    );
    for (const { message } of messages) {
      expect(message).toContain("the CUDA memory manager has not been created");
      expect(message).toContain("there is no pinned memory pool");
    }
  });

  test("has the cause that CUDA is lost, and the loss is a message of its own", () => {
    const messages = runWithPackage(simulator, (memory) => {
      const { AllocatedMemory, createMemoryManagers, CudartSimulator } = memory;
      createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 4096, 1: 0 } });
      const messages = memory.subscribeToMessages();
      const onGpu = new AllocatedMemory(64, "GPU", 0);
      CudartSimulator.failCall({ function: "cudaMemset", error: "cudaErrorIllegalAddress" });
      memory.outcomeOf(() => onGpu.fill(1));
      memory.outcomeOf(() => onGpu.fill(1));
      for (const gpu of [0, 1]) new AllocatedMemory(64, "GPU", gpu).free();
      return messages;
    });
    expect(messages.map(({ event, level, cause }) => `${level} ${event} ${cause}`)).toEqual([
      "error lost undefined",
      "warn fallback lost",
      "warn fallback lost",
    ]);
    expect(messages[0]!.message).toStartWith("bun-cuda-memory: CUDA has failed for good");
  });
});

test("a request that nothing can serve is published and logged", () => {
  const [messages, errors] = runWithPackage(simulator, (memory) => {
    const messages = memory.subscribeToMessages();
    new memory.AllocatedMemory(2 ** 52, "GPU", 1).free();
    new memory.AllocatedMemory(2 ** 52, "CPU").free();
    return [messages, memory.messagesOf("error")] as const;
  });
  const refused = { event: "refused", level: "error", byteSize: 2 ** 52, cause: "no pool" };
  expect(messages).toEqual([
    { ...refused, memoryType: "GPU", memoryTypeId: 1, message: errors[0] },
    { ...refused, memoryType: "CPU", memoryTypeId: 0, message: errors[1] },
  ] as MemoryMessage[]);
});

test("what throws or rejects is neither logged nor published", () => {
  const [outcomes, messages, logged] = runWithPackage(simulator, async (memory) => {
    const { AllocatedMemory, CudaMemoryManager, CudaStream, CudartSimulator } = memory;
    const { outcomeOf, PinnedMemoryManager } = memory;
    memory.createMemoryManagers({
      cudaMemoryPoolByteSize: { 0: 4096, 1: 0 },
      pinnedMemoryPoolByteSize: 4096,
    });
    const onGpu = new AllocatedMemory(64, "GPU", 0);
    const stream = new CudaStream(0);
    const messages = memory.subscribeToMessages();
    memory.logged.length = 0;
    const fail = (name: "cudaMemset" | "cudaStreamSynchronize" | "cudaMemcpyAsync") =>
      CudartSimulator.failCall({ function: name, error: "cudaErrorUnknown" });
    const outcomes = [
      outcomeOf(() => CudaMemoryManager.alloc(8192, 0)),
      outcomeOf(() => CudaMemoryManager.alloc(512, 1)),
      outcomeOf(() => CudaMemoryManager.free(512 as never, 0)),
      outcomeOf(() => CudaMemoryManager.create({ memoryPoolByteSize: { 0: -1 } })),
      outcomeOf(() => PinnedMemoryManager.alloc(8192, { allowNonpinnedFallback: false })),
      outcomeOf(() => PinnedMemoryManager.free(512 as never)),
      outcomeOf(() => new AllocatedMemory(-1, "GPU")),
      outcomeOf(() => new CudaStream(7)),
      outcomeOf(() => (fail("cudaMemset"), onGpu.fill(1))),
      outcomeOf(() => (fail("cudaStreamSynchronize"), stream.synchronize())),
    ];
    fail("cudaMemcpyAsync");
    await onGpu.writeAsync(new Uint8Array(64)).catch(({ code }) => outcomes.push(code));
    return [outcomes.map((outcome) => outcome.split(":")[0]), messages, memory.logged] as const;
  });
  expect(outcomes).toEqual([
    "OUT_OF_MEMORY",
    "UNAVAILABLE",
    "INVALID_ARG",
    "INVALID_ARG",
    "OUT_OF_MEMORY",
    "INVALID_ARG",
    "INVALID_ARG",
    "UNAVAILABLE",
    "INTERNAL",
    "INTERNAL",
    "INTERNAL",
  ]);
  expect(messages).toEqual([]);
  expect(logged).toEqual([]);
});

test("all that is logged is published too, with its level and its event", () => {
  const [messages, logged] = runWithPackage(simulator, async (memory) => {
    const { AllocatedMemory, createMemoryManagers, CudaMemoryManager, CudartSimulator } = memory;
    const { CudaStream, PinnedMemoryManager } = memory;
    const messages = memory.subscribeToMessages();
    CudartSimulator.failCall({ function: "cudaDeviceGetAttribute", error: "cudaErrorUnknown" });
    memory.getSupportedGpus(); // a device that cannot be asked
    CudartSimulator.failCall({ function: "cudaHostAlloc", error: "cudaErrorMemoryAllocation" });
    createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 4096, 5: 4096 } });
    createMemoryManagers(); // which exist already
    const twice = new AllocatedMemory(512, "GPU", 0);
    CudaMemoryManager.free(twice.pointer!, 0);
    twice[Symbol.dispose](); // cannot be released
    (() => {
      for (let i = 0; i < 20; i++) new AllocatedMemory(512, "GPU", 1);
      for (let i = 0; i < 20; i++) new CudaStream(1);
    })();
    const leakedKinds = () =>
      new Set(messages.filter((m) => m.event === "leak").map((m) => !m.byteSize));
    for (let i = 0; i < 100 && leakedKinds().size < 2; i++) {
      await Bun.sleep(2);
      Bun.gc(true);
    }
    const stream = new CudaStream(0);
    const source = new AllocatedMemory(512, "GPU", 0);
    const target = new AllocatedMemory(512, "GPU", 0);
    CudartSimulator.failOperation({ nth: 1, error: "cudaErrorUnknown" });
    memory.copyBuffer(target, source, { stream });
    stream[Symbol.dispose]();
    source.free();
    target.free();
    await Bun.sleep(20);
    PinnedMemoryManager.reset();
    CudaMemoryManager.reset();
    return [messages, memory.logged] as const;
  });
  expect(logged.map(([level, message]) => ({ level, message }))).toEqual(
    messages.map(({ level, message }) => ({ level, message })),
  );
  const events = new Set(messages.map(({ event }) => event));
  expect([...events].sort().join(" ")).toBe("device leak library pool stream unreleased");
  const leak = messages.find(({ event, byteSize }) => event === "leak" && byteSize !== undefined);
  expect(leak).toMatchObject({ byteSize: 512, memoryType: "GPU", memoryTypeId: 1, level: "warn" });
  for (const { message } of messages) expect(message).toMatch(/^bun-cuda-memory: (?!bun-cuda-mem)/);
});

describe("whoever reads messages", () => {
  test("may throw, which is an exception of its own", () => {
    const [thrown, messages, got, lives] = runWithPackage(simulator, async (memory) => {
      const { subscribe } = await import("node:diagnostics_channel");
      const thrown: string[] = [];
      process.on("uncaughtException", (error) => void thrown.push(error.message));
      subscribe("bun-cuda-memory", () => {
        throw new Error("out of ink");
      });
      const messages = memory.subscribeToMessages();
      const memories = [1, 2].map((size) => new memory.AllocatedMemory(size, "GPU", 0));
      const got = memories.map((memory) => [memory.totalByteSize, memory.memoryType]);
      for (const memory of memories) memory.free();
      await Bun.sleep(1);
      return [thrown, messages, got, memory.nonpinnedCount()] as const;
    });
    expect(thrown).toEqual(["out of ink", "out of ink"]);
    expect(messages.map(({ event }) => event)).toEqual(["fallback", "fallback"]);
    expect(got).toEqual([
      [1, "CPU"],
      [2, "CPU"],
    ]);
    expect(lives).toBe(0);
  });

  test("may make requests, which are not mixed up with the one at hand", () => {
    const [counts, addresses, readCounts] = runWithPackage(simulator, async (memory) => {
      const { subscribe } = await import("node:diagnostics_channel");
      const { AllocatedMemory, PinnedMemoryManager, setLogger } = memory;
      PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 0 });
      const memories: InstanceType<typeof AllocatedMemory>[] = [];
      const pointers: number[] = [];
      const makeRequests = (gpu: number) => {
        memories.push(new AllocatedMemory(64, "GPU", gpu), new AllocatedMemory(64, "GPU", gpu));
        pointers.push(PinnedMemoryManager.alloc(64).pointer as number);
      };
      const readCounts = { log: 0, channel: 0 };
      const log = () => (readCounts.log++, makeRequests(1));
      setLogger({ info: log, warn: log, error: log });
      subscribe("bun-cuda-memory", () => (readCounts.channel++, makeRequests(2)));
      console.warn = () => {};
      makeRequests(0);
      const addresses = [...memories.map((memory) => memory.pointer as number), ...pointers];
      const counts = [memory.nonpinnedCount()];
      for (const memory of memories) memory.free();
      for (const pointer of pointers) PinnedMemoryManager.free(pointer as never);
      counts.push(memory.nonpinnedCount());
      return [counts, addresses, readCounts] as const;
    });
    expect(new Set(addresses).size).toBe(addresses.length);
    expect(counts).toEqual([addresses.length, 0]);
    // The first request of GPU 0 has two lines for the log, which makes three requests at each. What
    // it warns of then goes to the console; what a subscriber causes is not published.
    expect(readCounts).toEqual({ log: 2, channel: 3 + 2 * 3 });
  });

  test("reads what its own thread has to say", () => {
    const [own, others] = runWithPackage(simulator, async (memory) => {
      const own = memory.subscribeToMessages();
      const path = JSON.stringify(Bun.resolveSync("./test/support/package.ts", process.cwd()));
      const program = `
        const { AllocatedMemory, subscribeToMessages } = await import(${path});
        const messages = subscribeToMessages();
        for (let i = 0; i < 2; i++) new AllocatedMemory(64, "GPU", 1).free();
        postMessage(messages.map(({ event, memoryTypeId }) => [event, memoryTypeId]));`;
      const worker = new Worker(URL.createObjectURL(new Blob([program])));
      const others = await new Promise<unknown>((resolve) => {
        worker.onmessage = ({ data }) => resolve(data);
      });
      worker.terminate();
      return [own, others] as const;
    });
    expect(own).toEqual([]);
    expect(others).toEqual([
      ["fallback", 1],
      ["fallback", 1],
    ]);
  });
});
