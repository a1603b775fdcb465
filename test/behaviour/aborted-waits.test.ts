import { describe, expect, test } from "bun:test";
import { copyBuffer, CudaStream } from "../../src/index.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { gpus, logged, resetAfterEach } from "../support/runtime.ts";
import { patternBytes } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf, usedByteSize } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

/** A signal that counts its listeners. */
function countingSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  let count = 0;
  const { addEventListener, removeEventListener } = signal;
  signal.addEventListener = (...args: unknown[]) => {
    count++;
    addEventListener.apply(signal, args as Parameters<typeof addEventListener>);
  };
  signal.removeEventListener = (...args: unknown[]) => {
    count--;
    removeEventListener.apply(signal, args as Parameters<typeof removeEventListener>);
  };
  return { controller, signal, listenerCount: () => count };
}

/** What a promise is rejected with, or "resolved". */
async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
    return "resolved";
  } catch (error) {
    return error;
  }
}

async function usedByteSizeBecomesZero(): Promise<void> {
  for (let i = 0; i < 2000 && usedByteSize() > 0; i++) await Bun.sleep(1);
  expect(usedByteSize()).toBe(0);
}

const types = ["GPU", "CPU_PINNED", "CPU"] as const;
const ways = ["writeAsync", "readAsync"] as const;

describe.each(types)("a transfer of %s memory", (type) => {
  const create = () => createManagers(type === "CPU" ? { pinnedByteSize: 0 } : {});

  test.each(ways)("%s is done as ever where nobody aborts it", async (way) => {
    create();
    using stream = new CudaStream(gpu);
    using memory = memoryOf(type, 9 * mebibyte);
    for (const options of [{}, { stream }]) {
      const { signal, listenerCount } = countingSignal();
      await memory[way](new Uint8Array(9 * mebibyte), 0, { ...options, signal });
      expect(listenerCount()).toBe(0);
      await memory[way](new Uint8Array(0), 0, { ...options, signal });
    }
  });

  test.each(ways)("%s moves nothing where it is aborted already", async (way) => {
    create();
    using stream = new CudaStream(gpu);
    using memory = memoryOf(type, 1000);
    memory.fill(1);
    const reason = { of: "the user" };
    const signal = AbortSignal.abort(reason);
    for (const options of [{}, { stream }]) {
      for (const byteSize of [1000, 0]) {
        const bytes = new Uint8Array(byteSize).fill(2);
        expect(await outcomeOf(memory[way](bytes, 0, { ...options, signal }))).toBe(reason);
        expect(bytes.every((byte) => byte === 2)).toBeTrue();
      }
      // What is wrong with the call is said first.
      const wrong = memory[way](new Uint8Array(1001), 0, { ...options, signal });
      expect(await outcomeOf(wrong)).toMatchObject({ code: "INVALID_ARG" });
    }
    expect(contentOf(memory).every((byte) => byte === 1)).toBeTrue();
    expect(stream.isDone()).toBeTrue();
    memory.free();
    expect(usedByteSize()).toBe(0);
  });

  test.each(ways)("%s is told by the signal, whatever its reason, and lets all go", async (way) => {
    create();
    using stream = new CudaStream(gpu);
    const bytes = new Uint8Array(40 * mebibyte);
    for (const options of [{}, { stream }]) {
      for (const reason of [undefined, null, new Error("mine"), "text"]) {
        const memory = memoryOf(type, 40 * mebibyte);
        const controller = new AbortController();
        const { signal } = controller;
        const transfer = outcomeOf(memory[way](bytes, 0, { ...options, signal }));
        await new Promise(setImmediate);
        controller.abort(reason);
        memory.free();
        expect(await transfer).toBe(signal.reason);
        await stream.finished();
        await usedByteSizeBecomesZero();
      }
    }
    expect(logged.error).toEqual([]);
  });

  test("that is aborted at any moment leaves the stream as it is used next", async () => {
    create();
    using stream = new CudaStream(gpu);
    using memory = memoryOf(type, 12 * mebibyte);
    const bytes = patternBytes(12 * mebibyte);
    const other = new Uint8Array(12 * mebibyte);
    for (let i = 0; i < 20; i++) {
      const { controller, signal, listenerCount } = countingSignal();
      const way = i % 3 === 0 ? "readAsync" : "writeAsync";
      const transfer = outcomeOf(memory[way](other, 0, { stream, signal }));
      for (let turn = 0; turn < i / 2; turn++) await new Promise(setImmediate);
      controller.abort();
      expect(["resolved", signal.reason]).toContain(await transfer);
      // What comes next on the stream comes after what is left of it.
      await memory.writeAsync(bytes, 0, { stream });
      expect(Buffer.compare(contentOf(memory), bytes)).toBe(0);
      expect(listenerCount()).toBeLessThanOrEqual(1); // one that was called is gone by itself
    }
  });

  test("may be aborted by a time limit", async () => {
    create();
    using memory = memoryOf(type, 40 * mebibyte);
    const bytes = new Uint8Array(40 * mebibyte);
    for (let i = 0; i < 200; i++) {
      const signal = AbortSignal.timeout(1);
      const outcome = await outcomeOf(memory.writeAsync(bytes, 0, { signal }));
      if (outcome === "resolved") continue; // a quick machine
      expect(outcome).toBe(signal.reason);
      expect(outcome).toMatchObject({ name: "TimeoutError" });
      break;
    }
  });
});

describe("waiting for a stream", () => {
  test("is told by the signal, and the stream goes on", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using source = memoryOf("CPU_PINNED", 16 * mebibyte);
    using target = memoryOf("GPU", 16 * mebibyte);
    source.bytes.fill(9);
    for (let i = 0; i < 20; i++) {
      for (let j = 0; j < 10; j++) copyBuffer(target, source, { stream });
      const { controller, signal, listenerCount } = countingSignal();
      const wait = outcomeOf(stream.finished({ signal }));
      const other = outcomeOf(stream.finished({ signal: new AbortController().signal }));
      for (let turn = 0; turn < i; turn++) await new Promise(setImmediate);
      controller.abort("enough");
      expect(["resolved", "enough"]).toContain((await wait) as string);
      expect(await other).toBe("resolved");
      expect(stream.isDone()).toBeTrue();
      expect(listenerCount()).toBeLessThanOrEqual(1);
    }
    expect(contentOf(target).at(-1)).toBe(9);
  });

  test("does not begin where it is aborted already", async () => {
    const stream = new CudaStream(gpu);
    expect(await outcomeOf(stream.finished({ signal: AbortSignal.abort("no") }))).toBe("no");
    await stream.finished({ signal: undefined });
    stream[Symbol.dispose]();
    // What is wrong with the call is said first.
    const wait = stream.finished({ signal: AbortSignal.abort("no") });
    expect(await outcomeOf(wait)).toMatchObject({ code: "INVALID_ARG" });
    expectMemoryError("INVALID_ARG", () => stream.isDone());
  });

  test("takes the signal of another library or realm", async () => {
    createManagers();
    using stream = new CudaStream(gpu);
    using memory = memoryOf("GPU", 1000);
    const listeners = new Set<unknown>();
    const signal = {
      aborted: false,
      reason: undefined,
      addEventListener: (_: string, listener: unknown) => void listeners.add(listener),
      removeEventListener: (_: string, listener: unknown) => void listeners.delete(listener),
    } as unknown as AbortSignal;
    await stream.finished({ signal });
    await memory.writeAsync(new Uint8Array(1000), 0, { stream, signal });
    expect(listeners.size).toBe(0);
  });
});
