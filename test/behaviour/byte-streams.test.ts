// Streams of bytes into memory and out of it.

import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AllocatedMemory,
  CudaMemoryManager,
  CudaStream,
  type MemorySource,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { expectMemoryError, expectSame, rejectionOf } from "../support/expectations.ts";
import { gpus, resetAfterEach } from "../support/runtime.ts";
import { notWholeNumbers, patternBytes, untyped } from "../support/values.ts";
import { contentOf, createManagers, mebibyte, memoryOf } from "./memories.ts";

resetAfterEach();

const [gpu = 0] = gpus;

const kibibyte = 1024;

const folder = mkdtempSync(join(tmpdir(), "bun-cuda-memory-test-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A source that tells what was done with it. */
class TestSource {
  pullCount = 0;
  cancelReason: unknown = undefined;
  isCancelled = false;
  readonly stream: ReadableStream<Uint8Array>;

  /** @param chunks Are given one at each pull; then the stream ends, or goes on as `last` says. */
  constructor(chunks: Iterable<Uint8Array>, last: "close" | "error" | "wait" = "close") {
    const iterator = chunks[Symbol.iterator]();
    this.stream = new ReadableStream(
      {
        pull: (controller) => {
          const { done, value } = iterator.next();
          if (!done) {
            this.pullCount++;
            controller.enqueue(value);
          } else if (last === "close") {
            controller.close();
          } else if (last === "error") {
            controller.error(new Error("the source has failed"));
          }
        },
        cancel: (reason) => {
          this.isCancelled = true;
          this.cancelReason = reason;
        },
      },
      { highWaterMark: 0 },
    );
  }
}

function* chunksOf(bytes: Uint8Array, chunkByteSize: number): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += chunkByteSize) {
    yield bytes.slice(offset, offset + chunkByteSize);
  }
}

describe.each(["GPU", "CPU_PINNED", "CPU"] as const)("writing a stream of bytes: %s", (type) => {
  const byteSize = 3 * mebibyte + 77;
  const bytes = patternBytes(byteSize);

  /** Memory of the type, with bytes before and after those that are written. */
  function memoryWithMargins(): AllocatedMemory {
    createManagers({ pinnedByteSize: type === "CPU" ? 0 : 64 * mebibyte });
    const memory = memoryOf(type, byteSize + 200);
    memory.fill(9);
    return memory;
  }

  function expectWritten(memory: AllocatedMemory, wanted: Uint8Array): void {
    const content = contentOf(memory);
    expectSame(content.subarray(100, 100 + wanted.length), wanted);
    expect(content.subarray(0, 100).every((byte) => byte === 9)).toBeTrue();
    expect(content.subarray(100 + wanted.length).every((byte) => byte === 9)).toBeTrue();
  }

  const sources: Record<string, () => MemorySource | Promise<MemorySource>> = {
    "a Blob": () => new Blob([bytes]),
    "a file": async () => {
      const path = join(folder, type);
      await Bun.write(path, bytes);
      return Bun.file(path);
    },
    "a Request": () => new Request("http://localhost", { method: "PUT", body: bytes }),
    "a Response": () => new Response(bytes),
    "a Response with a stream": () => new Response(new TestSource(chunksOf(bytes, 10_000)).stream),
    "a stream of small chunks": () => new TestSource(chunksOf(bytes, 777)).stream,
    "a stream of chunks of all sizes": () =>
      new TestSource(
        (function* () {
          for (let offset = 0, size = 1; offset < byteSize; offset += size, size *= 3) {
            yield bytes.slice(offset, offset + size);
            yield new Uint8Array(0);
          }
        })(),
      ).stream,
    "a stream of one chunk": () => new TestSource([bytes]).stream,
    "a stream that comes slowly": () => {
      const chunks = chunksOf(bytes, 300_000);
      return new ReadableStream({
        async pull(controller) {
          await Bun.sleep(1);
          const { done, value } = chunks.next();
          if (done) controller.close();
          else controller.enqueue(value);
        },
      });
    },
    "a stream that has one buffer": () => {
      const buffer = new Uint8Array(100_000);
      return new TestSource(
        (function* () {
          for (const chunk of chunksOf(bytes, buffer.length)) {
            buffer.set(chunk);
            yield buffer.subarray(0, chunk.length);
          }
        })(),
      ).stream;
    },
  };

  test.each(Object.keys(sources))("from %s", async (name) => {
    using memory = memoryWithMargins();
    const source = await sources[name]!();
    const progress: number[] = [];
    const written = await memory.writeFrom(source, {
      byteOffset: 100,
      onProgress: (writtenByteSize) => void progress.push(writtenByteSize),
    });
    expect(written).toBe(byteSize);
    expectWritten(memory, bytes);
    expect(progress.at(-1)).toBe(byteSize);
    expect(progress.every((each, i) => i === 0 || each > progress[i - 1]!)).toBeTrue();
  });

  test("as much as fits, and nothing beyond", async () => {
    using memory = memoryWithMargins();
    const room = byteSize + 100;
    const all = patternBytes(room + 1, 3);
    const exact = new TestSource(chunksOf(all.slice(0, room), 50_000));
    expect(await memory.writeFrom(exact.stream, { byteOffset: 100 })).toBe(room);
    for (const chunkByteSize of [1000, 50_000, room + 1]) {
      memory.fill(9);
      // The memory goes on behind its part.
      const part = memory.subarray(100, 100 + byteSize);
      const source = new TestSource(chunksOf(all, chunkByteSize), "wait");
      const error = await rejectionOf(part.writeFrom(source.stream));
      expect(error).toMatchObject({ name: "MemoryError", code: "OUT_OF_RANGE" });
      expect(source.cancelReason).toBe(error);
      const content = contentOf(memory);
      expect(content.subarray(100 + byteSize).every((byte) => byte === 9)).toBeTrue();
      expect(content.subarray(0, 100).every((byte) => byte === 9)).toBeTrue();
    }
    memory.fill(9);
    expect((await rejectionOf(memory.writeFrom(new Blob([all, all])))).code).toBe("OUT_OF_RANGE");
    expect(contentOf(memory).every((byte) => byte === 9)).toBeTrue();
    using full = memory.subarray(0, 5);
    const oneByte = new TestSource([Uint8Array.of(1)]);
    const rejected = rejectionOf(full.writeFrom(oneByte.stream, { byteOffset: 5 }));
    expect((await rejected).code).toBe("OUT_OF_RANGE");
  });

  test("until it is aborted: before, while the source makes it wait, and while bytes move", async () => {
    using memory = memoryWithMargins();
    const reason = new Error("the client has gone");
    const before = new TestSource(chunksOf(bytes, 1000));
    const signal = AbortSignal.abort(reason);
    expect(await rejectionOf(memory.writeFrom(before.stream, { signal }))).toBe(untyped(reason));
    expect(before).toMatchObject({ isCancelled: true, cancelReason: reason });
    const whileWaiting = new TestSource([bytes.slice(0, 1000)], "wait");
    const waiting = new AbortController();
    const rejected = rejectionOf(
      memory.writeFrom(whileWaiting.stream, {
        byteOffset: 100,
        signal: waiting.signal,
        // What was put together is written while the source makes this wait.
        onProgress: () => void setTimeout(() => waiting.abort(reason), 1),
      }),
    );
    expect(await rejected).toBe(untyped(reason));
    expect(whileWaiting).toMatchObject({ isCancelled: true, cancelReason: reason });
    expectWritten(memory, bytes.subarray(0, 1000));
    const whileMoving = new TestSource(chunksOf(bytes, 500_000));
    const moving = new AbortController();
    const onProgress = () => moving.abort(reason);
    const options = { signal: moving.signal, onProgress };
    expect(await rejectionOf(memory.writeFrom(whileMoving.stream, options))).toBe(untyped(reason));
    expect(whileMoving).toMatchObject({ isCancelled: true, cancelReason: reason });
    const timeout = new TestSource([], "wait");
    const late = rejectionOf(memory.writeFrom(timeout.stream, { signal: AbortSignal.timeout(5) }));
    expect((await late).name).toBe("TimeoutError");
    // Nothing of it is under way any more, or it ends by itself.
    memory.free();
    for (let i = 0; i < 100 && CudaMemoryManager.stats(gpu).usedByteSize > 0; i++)
      await Bun.sleep(1);
    expect(CudaMemoryManager.stats(gpu).usedByteSize).toBe(0);
  });

  test("until it fails: by the source, by whoever is told of it, by what is no bytes", async () => {
    using memory = memoryWithMargins();
    const failing = new TestSource([bytes.slice(0, 100)], "error");
    expect((await rejectionOf(memory.writeFrom(failing.stream))).message).toBe(
      "the source has failed",
    );
    const told = new TestSource([bytes], "wait");
    const onProgress = () => {
      throw new Error("enough");
    };
    expect((await rejectionOf(memory.writeFrom(told.stream, { onProgress }))).message).toBe(
      "enough",
    );
    expect(told.isCancelled).toBeTrue();
    const noBytes = new TestSource(untyped<Uint8Array[]>(["text"]));
    expect((await rejectionOf(memory.writeFrom(noBytes.stream))).code).toBe("INVALID_ARG");
    expect(noBytes.isCancelled).toBeTrue();
    const missing = Bun.file("/nowhere/at/all");
    expect((await rejectionOf(memory.writeFrom(missing))).message).toContain("/nowhere/at/all");
  });

  test("until the memory is freed", async () => {
    const memory = memoryWithMargins();
    const source = new TestSource(chunksOf(bytes, 300_000));
    const writing = memory.writeFrom(source.stream, { onProgress: () => memory.free() });
    expect((await rejectionOf(writing)).code).toBe("UNAVAILABLE");
    expect(source.isCancelled).toBeTrue();
    expect(source.pullCount).toBeLessThan(6);
    const another = new TestSource([bytes]);
    expect((await rejectionOf(memory.writeFrom(another.stream))).code).toBe("UNAVAILABLE");
    expect(another).toMatchObject({ isCancelled: false, pullCount: 0 });
  });

  test("leaves the source unlocked, and not cancelled", async () => {
    using memory = memoryWithMargins();
    const source = new TestSource(chunksOf(bytes, 200_000));
    await memory.writeFrom(source.stream);
    expect(source.isCancelled).toBeFalse();
    expect(source.stream.locked).toBeFalse();
  });
});

describe("writing a stream of bytes", () => {
  test("holds nothing of the pools while the source makes it wait", async () => {
    createManagers();
    using memory = memoryOf("GPU", 4096);
    const source = new AbortController();
    const stream = new TestSource([new Uint8Array(100)], "wait").stream;
    const { promise, resolve } = Promise.withResolvers<void>();
    const writing = rejectionOf(
      memory.writeFrom(stream, { signal: source.signal, onProgress: () => resolve() }),
    );
    await promise;
    await Bun.sleep(2);
    expect(PinnedMemoryManager.stats().allocationCount).toBe(0);
    source.abort();
    await writing;
  });

  describe.each(["GPU", "CPU_PINNED"] as const)("goes on in %s memory", (type) => {
    const bytes = patternBytes(mebibyte, 3);
    const newSource = () => new TestSource(chunksOf(bytes, 300_000)).stream;

    test("where its stream is disposed of meanwhile", async () => {
      createManagers();
      using memory = memoryOf(type, mebibyte);
      const stream = new CudaStream(gpu);
      const onProgress = () => stream[Symbol.dispose]();
      expect(await memory.writeFrom(newSource(), { stream, onProgress })).toBe(mebibyte);
      expectSame(contentOf(memory), bytes);
      const rejected = rejectionOf(memory.writeFrom(newSource(), { stream }));
      expect((await rejected).code).toBe("INVALID_ARG");
    });

    test("where its stream is dropped meanwhile", async () => {
      createManagers();
      using memory = memoryOf(type, mebibyte);
      const onProgress = () => Bun.gc(true);
      const begin = () =>
        memory.writeFrom(newSource(), { stream: new CudaStream(gpu), onProgress });
      expect(await begin()).toBe(mebibyte);
      expectSame(contentOf(memory), bytes);
    });
  });

  test("comes after what a stream was given, and before what it is given next", async () => {
    createManagers();
    using memory = memoryOf("GPU", mebibyte);
    using stream = new CudaStream(gpu);
    const first = memory.writeAsync(patternBytes(mebibyte, 1), 0, { stream });
    const bytes = patternBytes(mebibyte, 2);
    const source = new TestSource(chunksOf(bytes, 100_000)).stream;
    await memory.writeFrom(source, { stream });
    await first;
    const back = new Uint8Array(mebibyte);
    await memory.readAsync(back, 0, { stream });
    expectSame(back, bytes);
  });

  test("has nothing to do where there is no body", async () => {
    createManagers();
    using memory = memoryOf("GPU", 4096);
    expect(await memory.writeFrom(new Request("http://localhost"))).toBe(0);
    expect(await memory.writeFrom(new Response(null))).toBe(0);
    expect(await memory.writeFrom(new Blob([]))).toBe(0);
    using empty = new AllocatedMemory(0, "GPU", gpu);
    expect(await empty.writeFrom(new Blob([]))).toBe(0);
    expect((await rejectionOf(empty.writeFrom(new Blob(["1"])))).code).toBe("OUT_OF_RANGE");
    const signal = AbortSignal.abort("gone");
    expect(await rejectionOf(memory.writeFrom(new Response(null), { signal }))).toBe(
      untyped("gone"),
    );
  });

  test("refuses what is not as it has to be, and leaves the source alone", async () => {
    createManagers();
    using memory = memoryOf("GPU", 4096);
    const source = new TestSource([new Uint8Array(5)]);
    const refuse = async (from: unknown, options?: unknown) =>
      expect((await rejectionOf(memory.writeFrom(untyped(from), untyped(options)))).code).toBe(
        "INVALID_ARG",
      );
    for (const from of [undefined, null, 5, "text", new Uint8Array(5), {}, [source.stream]]) {
      await refuse(from);
    }
    for (const byteOffset of notWholeNumbers.filter((value) => value !== undefined)) {
      await refuse(source.stream, { byteOffset });
    }
    await refuse(source.stream, { byteOffset: 4097 });
    for (const option of ["signal", "onProgress", "stream"]) {
      for (const value of [null, 5, {}]) await refuse(source.stream, { [option]: value });
    }
    await refuse(source.stream, { offset: 5 });
    await refuse(source.stream, 5);
    expect(source).toMatchObject({ isCancelled: false, pullCount: 0 });
    const reader = source.stream.getReader();
    await refuse(source.stream);
    reader.releaseLock();
    expect(await memory.writeFrom(source.stream)).toBe(5);
    const response = new Response("text");
    await response.text();
    await refuse(response);
  });
});

describe.each(["GPU", "CPU_PINNED"] as const)("reading a stream of bytes: %s", (type) => {
  const byteSize = 3 * mebibyte + 77;
  const bytes = patternBytes(byteSize);

  function filledMemory(): AllocatedMemory {
    createManagers();
    const memory = memoryOf(type, byteSize);
    memory.write(bytes);
    return memory;
  }

  test("gives all of the memory, or a part, in chunks", async () => {
    using memory = filledMemory();
    expectSame(await new Response(memory.readable()).bytes(), bytes);
    for (const [byteOffset, size, chunkByteSize] of [
      [0, byteSize, 1000],
      [5, 100, 7],
      [5, undefined, 100_000],
      [byteSize - 1, 1, undefined],
      [byteSize, 0, undefined],
      [byteSize, undefined, undefined],
      [0, mebibyte, mebibyte],
      [0, mebibyte + 1, mebibyte],
      [0, 100, byteSize],
    ] as const) {
      const chunks: Uint8Array[] = [];
      for await (const chunk of memory.readable({ byteOffset, byteSize: size, chunkByteSize })) {
        chunks.push(chunk);
      }
      const end = size === undefined ? byteSize : byteOffset + size;
      expectSame(Buffer.concat(chunks), bytes.subarray(byteOffset, end));
      if (chunkByteSize === undefined) continue;
      expect(chunks.slice(0, -1).every((chunk) => chunk.length === chunkByteSize)).toBeTrue();
      expect(chunks.every((chunk) => chunk.length > 0 && chunk.length <= chunkByteSize)).toBeTrue();
    }
    expect(memory.readable({ byteSize: 0 }).locked).toBeFalse();
  });

  test("fills a reader's own buffers", async () => {
    using memory = filledMemory();
    const reader = memory.readable({ byteSize: 250_100 }).getReader({ mode: "byob" });
    const parts: Uint8Array[] = [];
    for (;;) {
      const { done, value } = await reader.read(
        new Uint8Array(new ArrayBuffer(100_000), 10, 50_000),
      );
      if (done) break;
      expect(value!.byteOffset).toBe(10);
      parts.push(value!.slice());
    }
    expect(parts.map((part) => part.length)).toEqual([50_000, 50_000, 50_000, 50_000, 50_000, 100]);
    expectSame(Buffer.concat(parts), bytes.subarray(0, 250_100));
  });

  test("reads nothing before somebody wants it", async () => {
    using memory = filledMemory();
    const reader = memory.readable({ chunkByteSize: 1000 }).getReader();
    await Bun.sleep(2);
    memory.fill(5);
    expect((await reader.read()).value!.every((byte) => byte === 5)).toBeTrue();
    await Bun.sleep(2);
    memory.fill(6);
    expect((await reader.read()).value!.every((byte) => byte === 6)).toBeTrue();
    await reader.cancel();
    expect(PinnedMemoryManager.stats().allocationCount).toBe(type === "GPU" ? 0 : 1);
  });

  test("fails when the memory is freed, the manager reset, the signal aborted", async () => {
    const memory = filledMemory();
    const reader = memory.readable({ chunkByteSize: 1000 }).getReader();
    const part = memory.subarray(1).readable().getReader();
    await reader.read();
    memory.free();
    expect((await rejectionOf(reader.read())).code).toBe("UNAVAILABLE");
    expect((await rejectionOf(part.read())).code).toBe("UNAVAILABLE");
    expectMemoryError("UNAVAILABLE", () => memory.readable());
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();

    using outlived = filledMemory();
    const ofOutlived = outlived.readable().getReader();
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    expect((await rejectionOf(ofOutlived.read())).code).toBe("UNAVAILABLE");

    using another = filledMemory();
    const reason = new Error("the client has gone");
    const controller = new AbortController();
    const { signal } = controller;
    const aborted = another.readable({ signal, chunkByteSize: 1000 }).getReader();
    await aborted.read();
    const pending = rejectionOf(aborted.read());
    controller.abort(reason);
    expect(await pending).toBe(untyped(reason));
    expect(await rejectionOf(aborted.read())).toBe(untyped(reason));
    const late = another.readable({ signal }).getReader();
    expect(await rejectionOf(late.read())).toBe(untyped(reason));
    // A stream that has ended does not look at its signal any more.
    const next = new AbortController();
    const whole = new Response(another.readable({ signal: next.signal }));
    expectSame(await whole.bytes(), bytes);
    next.abort(reason);
  });

  test("refuses what is not inside the memory, and options that are none", () => {
    using memory = filledMemory();
    for (const options of [
      { byteOffset: byteSize + 1 },
      { byteOffset: 1, byteSize },
      { byteSize: byteSize + 1 },
      { chunkByteSize: 0 },
      { signal: 5 },
      { signal: null },
      { offset: 5 },
      5,
      null,
    ]) {
      expectMemoryError("INVALID_ARG", () => memory.readable(untyped(options)));
    }
    for (const value of notWholeNumbers.filter((each) => each !== undefined)) {
      for (const option of ["byteOffset", "byteSize", "chunkByteSize"]) {
        expectMemoryError("INVALID_ARG", () => memory.readable(untyped({ [option]: value })));
      }
    }
  });

  test("is the body of requests and responses", async () => {
    using source = filledMemory();
    using target = memoryOf(type, byteSize);
    using server = Bun.serve({
      port: 0,
      async fetch(request) {
        if (request.method === "GET") return new Response(source.readable());
        return new Response(`${await target.writeFrom(request)}`);
      },
    });
    const body = source.readable({ chunkByteSize: 100 * kibibyte });
    const answer = await fetch(server.url, { method: "PUT", body });
    expect(await answer.text()).toBe(`${byteSize}`);
    expectSame(contentOf(target), bytes);
    target.fill(0);
    expect(await target.writeFrom(await fetch(server.url))).toBe(byteSize);
    expectSame(contentOf(target), bytes);
  });
});
