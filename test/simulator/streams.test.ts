import { describe, expect, test } from "bun:test";
import { runOn, spawnOn } from "./process.ts";

describe("a stream", () => {
  test("performs what is queued later than the call, and in order", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8).value;
      const pinned = cuda.hostAlloc(8).value;
      cuda.poke(pinned, 1, 8);
      const queued = cuda.timed(() => [
        cuda.memsetAsync(device, 7, 8, stream),
        cuda.memcpyAsync(pinned, device, 8, 2, stream),
        cuda.memsetAsync(device, 9, 8, stream),
      ]);
      const early = { query: cuda.queryStream(stream), byte: cuda.dereference(pinned) };
      const waited = cuda.timed(() => cuda.synchronizeStream(stream));
      const late = { query: cuda.queryStream(stream), byte: cuda.dereference(pinned) };
      return { queued, early, waited, late, device: cuda.bytesOf(device, 8) };
    });
    expect(result).toMatchObject({
      queued: { result: [0, 0, 0] },
      early: { query: 600, byte: 1 },
      waited: { result: 0 },
      late: { query: 0, byte: 7 },
      device: Array(8).fill(9),
    });
    expect(result.queued.ms).toBeLessThan(300);
    expect(result.queued.ms + result.waited.ms).toBeGreaterThan(445);
  });

  test("reads and writes the bytes of a copy when its turn comes", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8).value;
      const pinned = cuda.hostAlloc(8).value;
      cuda.poke(pinned, 1, 8);
      cuda.memcpyAsync(device, pinned, 8, 1, stream);
      cuda.poke(pinned, 2, 8);
      cuda.synchronizeStream(stream);
      return cuda.bytesOf(device, 8);
    });
    expect(result).toEqual(Array(8).fill(2));
  });

  test("takes a time for each byte, and none by default", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1_000_000).value;
      const fill = (size: number): number =>
        cuda.timed(() => {
          cuda.memsetAsync(device, 1, size, stream);
          cuda.synchronizeStream(stream);
        }).ms;
      fill(1_000_000);
      const undelayed = Math.min(...Array.from({ length: 20 }, () => fill(1_000_000)));
      simulator.setDelay({ nsPerByte: 100 });
      return { undelayed, small: fill(1000), large: fill(1_000_000) };
    });
    expect(result.undelayed).toBeLessThan(20);
    expect(result.small).toBeLessThan(90);
    expect(result.large).toBeGreaterThan(99);
  });

  test("works at the same time as other streams", () => {
    const result = runOn({ operationNs: "100000000" }, ({ cuda }) => {
      const streams = Array.from({ length: 8 }, () => cuda.createStream().value);
      const device = cuda.malloc(8).value;
      return cuda.timed(() => {
        streams.forEach((stream, index) => cuda.memsetAsync(device + index, index, 1, stream));
        cuda.synchronizeDevice();
        return cuda.bytesOf(device, 8);
      });
    });
    expect(result.result).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    // Of the copy that reads them, 100; of the others, 100 together and not 800.
    expect(result.ms).toBeGreaterThan(199);
    expect(result.ms).toBeLessThan(500);
  });

  test("that is not waited for corrupts what is used too early", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream(1).value;
      const pinned = cuda.hostAlloc(4096).value;
      const first = cuda.malloc(4096).value;
      cuda.poke(pinned, 1, 4096);
      // The block is given to somebody else while a copy to it is under way.
      cuda.memcpyAsync(first, pinned, 4096, 1, stream);
      simulator.setDelay({});
      cuda.memset(first, 5, 4096);
      const early = cuda.bytesOf(first, 1);
      cuda.synchronizeStream(stream);
      return { early, late: cuda.bytesOf(first, 1) };
    });
    expect(result).toEqual({ early: [5], late: [1] });
  });

  test("finishes its work after it was destroyed, and then its thread ends", () => {
    const result = runOn(
      { operationNs: "150000000" },
      async ({ cuda, CudartSimulator: simulator }) => {
        const stream = cuda.createStream().value;
        const device = cuda.malloc(8).value;
        const pinned = cuda.hostAlloc(8).value;
        cuda.poke(pinned, 3, 8);
        cuda.memcpyAsync(device, pinned, 8, 1, stream);
        cuda.memcpyAsync(pinned, device, 4, 2, stream);
        const destroyed = cuda.timed(() => cuda.destroyStream(stream));
        const working = cuda.workerCount();
        const live = simulator.liveHandles();
        cuda.poke(pinned, 4, 8);
        const waited = cuda.synchronizeDevice();
        const byte = cuda.dereference(pinned);
        for (let wait = 0; wait < 500 && cuda.workerCount() > 0; wait++) {
          await Bun.sleep(10);
        }
        return { destroyed, working, live, waited, byte, left: cuda.workerCount() };
      },
    );
    expect(result).toMatchObject({
      destroyed: { result: 0 },
      working: 1,
      live: { streamCount: 0, eventCount: 0 },
      waited: 0,
      // The copy had not read the source when it was changed.
      byte: 4,
      left: 0,
    });
    expect(result.destroyed.ms).toBeLessThan(140);
  });

  test("has a thread only once something is queued, and none for what the caller waits for", () => {
    const result = runOn({}, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8).value;
      const host = new Uint8Array(8);
      cuda.memcpy(device, host, 8, 1);
      cuda.synchronizeStream(stream);
      cuda.queryStream(stream);
      const before = cuda.workerCount();
      cuda.memsetAsync(device, 1, 8, stream);
      return { before, after: cuda.workerCount() };
    });
    expect(result).toEqual({ before: 0, after: 1 });
  });

  test("takes thousands of operations", () => {
    const result = runOn({}, ({ cuda }) => {
      const streams = Array.from({ length: 4 }, () => cuda.createStream(1).value);
      const device = cuda.malloc(4 * 256).value;
      const errors = new Set<number>();
      for (let index = 0; index < 40_000; index++) {
        const stream = Number(streams[index % 4]);
        errors.add(cuda.memsetAsync(device + 256 * (index % 4), index % 251, 256, stream));
      }
      errors.add(cuda.synchronizeDevice());
      const bytes = [0, 1, 2, 3].map((index) => cuda.bytesOf(device + 256 * index, 256));
      return { errors: [...errors], bytes: bytes.map((block) => [...new Set(block)]) };
    });
    expect(result).toEqual({
      errors: [0],
      bytes: [39_996, 39_997, 39_998, 39_999].map((index) => [index % 251]),
    });
  });

  test("whose queue is full makes the caller wait, and loses nothing", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8).value;
      simulator.setDelay({ operationNs: 200e6 });
      cuda.memsetAsync(device, 1, 8, stream);
      simulator.setDelay({});
      const queueing = cuda.timed(() => {
        for (let index = 0; index < 70_000; index++) {
          cuda.memsetAsync(device, index % 256, 8, stream);
        }
      });
      return {
        ms: queueing.ms,
        error: cuda.synchronizeStream(stream),
        byte: cuda.bytesOf(device, 1),
      };
    });
    expect(result).toMatchObject({ error: 0, byte: [69_999 % 256] });
    expect(result.ms).toBeGreaterThan(100);
  });

  test("comes and goes by the thousand, without leaving anything behind", () => {
    const result = runOn({}, async ({ cuda, CudartSimulator: simulator }) => {
      const device = cuda.malloc(8).value;
      const errors = new Set<number>();
      for (let round = 0; round < 2000; round++) {
        const stream = cuda.createStream(round % 2).value;
        const event = cuda.createEvent(2).value;
        errors.add(cuda.memsetAsync(device, round % 256, 8, stream));
        errors.add(cuda.recordEvent(event, stream));
        errors.add(cuda.waitEvent(null, event));
        errors.add(cuda.destroyEvent(event));
        errors.add(cuda.destroyStream(stream));
      }
      errors.add(cuda.synchronizeDevice());
      for (let wait = 0; wait < 500 && cuda.workerCount() > 1; wait++) {
        await Bun.sleep(10);
      }
      return { errors: [...errors], live: simulator.liveHandles(), workers: cuda.workerCount() };
    });
    expect(result).toEqual({
      errors: [0],
      live: { streamCount: 0, eventCount: 0 },
      // The legacy default stream's.
      workers: 1,
    });
  });

  test("is told from everything that is none", () => {
    const result = runOn({}, ({ cuda }) => {
      const destroyed = cuda.createStream().value;
      cuda.destroyStream(destroyed);
      const event = cuda.createEvent().value;
      const device = cuda.malloc(8).value;
      const pinned = cuda.hostAlloc(8).value;
      const attempts = [3, 4096, destroyed, event, device, pinned].map((stream) => [
        cuda.queryStream(stream),
        cuda.synchronizeStream(stream),
        cuda.destroyStream(stream),
        cuda.recordEvent(event, stream),
        cuda.waitEvent(stream, event),
        cuda.memsetAsync(device, 1, 8, stream),
        cuda.memcpyAsync(device, pinned, 8, 1, stream),
        cuda.memcpyAsync(device, new Uint8Array(8), 8, 1, stream),
        cuda.launchHostFunction(stream, cuda.cFunction("sem_post"), pinned),
      ]);
      const defaults = [null, 1, 2].map((stream) => cuda.destroyStream(stream));
      const again = cuda.createStream().value;
      return {
        attempts: new Set(attempts.flat()).size,
        first: attempts[0],
        defaults,
        isNew: again !== destroyed,
      };
    });
    expect(result).toEqual({
      attempts: 1,
      first: Array(9).fill(400),
      defaults: [400, 400, 400],
      isNew: true,
    });
  });

  test("is created with the flags that CUDA has", () => {
    const result = runOn({}, ({ cuda }) => ({
      flags: [0, 1, 2, 3].map((flags) => cuda.createStream(flags).error),
      plain: cuda.createPlainStream().error,
      nowhere: [
        cuda.callWithZeros("cudaStreamCreate"),
        cuda.callWithZeros("cudaStreamCreateWithFlags"),
      ],
    }));
    expect(result).toEqual({ flags: [0, 0, 1, 1], plain: 0, nowhere: [1, 1] });
  });
});

describe("a process", () => {
  test.each([
    ["ends", "return 1"],
    ["exits", "process.exit(0)"],
  ])("%s with work in flight", (_, how) => {
    const source = `({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1 << 20).value;
      const pinned = cuda.hostAlloc(1 << 20).value;
      for (let index = 0; index < 60; index++) {
        cuda.memcpyAsync(device, pinned, 1 << 20, 1, stream);
        cuda.memset(device, 1, 8);
      }
      ${how};
    }`;
    const start = performance.now();
    // A body travels as its text.
    const body = { toString: () => source } as unknown as Parameters<typeof spawnOn>[1];
    const { exitCode, signal, stderr } = spawnOn({ operationNs: "1000000000" }, body);
    expect({ exitCode, signal, stderr }).toEqual({ exitCode: 0, signal: undefined, stderr: "" });
    expect(performance.now() - start).toBeLessThan(30_000);
  });
});
