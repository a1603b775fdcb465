// That the simulator's work is asynchronous, and ordered as CUDA documents. Times are compared with
// wide margins: they are taken on machines that do other things meanwhile.
import { describe, expect, test } from "bun:test";
import { CudartSimulator } from "../../src/simulator.ts";
import type { OwnStream } from "./own-stream.ts";
import { runOn, spawnOn } from "./process.ts";

const twoDevices = "8.0:1073741824,9.0:1073741824";

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

describe("an asynchronous copy", () => {
  test("returns early between device and pinned memory only", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const places = {
        device: cuda.malloc(16).value,
        pinned: cuda.hostAlloc(16).value,
        host: new Uint8Array(16),
      };
      const outcomes: string[] = [];
      for (const [to, target] of Object.entries(places)) {
        for (const [from, source] of Object.entries(places)) {
          cuda.memcpyAsync(target, source, 16, 4, stream);
          const done = cuda.queryStream(stream);
          cuda.synchronizeStream(stream);
          outcomes.push(`${to} <- ${from}: ${done}`);
        }
      }
      return outcomes;
    });
    // As measured on an H100, where work queued before keeps the stream busy.
    expect(result).toEqual([
      "device <- device: 600",
      "device <- pinned: 600",
      "device <- host: 600",
      "pinned <- device: 600",
      "pinned <- pinned: 0",
      "pinned <- host: 0",
      "host <- device: 0",
      "host <- pinned: 0",
      "host <- host: 0",
    ]);
  });

  test("from ordinary memory has taken the bytes when it returns", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8 << 20).value;
      const copyOf = (size: number) => {
        const host = new Uint8Array(size).fill(6);
        const { ms } = cuda.timed(() => cuda.memcpyAsync(device, host, size, 1, stream));
        host.fill(7);
        cuda.synchronizeStream(stream);
        return { ms, bytes: [cuda.bytesOf(device, 1)[0], cuda.bytesOf(device + size - 1, 1)[0]] };
      };
      return { small: copyOf(4096), large: copyOf(8 << 20) };
    });
    expect(result.small.bytes).toEqual([6, 6]);
    expect(result.small.ms).toBeLessThan(140);
    // Too large to be kept until its turn: the call waits for that.
    expect(result.large.bytes).toEqual([6, 6]);
    expect(result.large.ms).toBeGreaterThan(149);
  });

  test("to ordinary memory returns when all that was queued before is done", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(16).value;
      cuda.memsetAsync(device, 8, 16, stream);
      const host = new Uint8Array(16);
      const { result: error, ms } = cuda.timed(() => cuda.memcpyAsync(host, device, 16, 2, stream));
      return { error, ms, host: [...host] };
    });
    expect(result).toMatchObject({ error: 0, host: Array(16).fill(8) });
    expect(result.ms).toBeGreaterThan(295);
  });

  test("checks its arguments as cudaMemcpy does", () => {
    const result = runOn({}, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(16).value;
      const host = new Uint8Array(16);
      return {
        kinds: [0, 1, 2, 3, 4, 5].map((kind) => cuda.memcpyAsync(device, host, 16, kind, stream)),
        nulls: [
          cuda.memcpyAsync(null, host, 16, 4, stream),
          cuda.memcpyAsync(device, null, 16, 4, stream),
          cuda.memsetAsync(null, 1, 16, stream),
        ],
        outside: [
          cuda.memcpyAsync(device, host, 17, 4, stream),
          cuda.memsetAsync(device, 1, 17, stream),
        ],
        pageable: cuda.memsetAsync(host, 1, 16, stream),
        // Even then on a stream that there is not.
        nothing: [cuda.memcpyAsync(null, null, 0, 9, 3), cuda.memsetAsync(null, 1, 0, 3)],
      };
    });
    expect(result).toEqual({
      kinds: [0, 0, 1, 1, 0, 21],
      nulls: [1, 1, 1],
      outside: [1, 1],
      pageable: 1,
      nothing: [0, 0],
    });
  });

  test("copies between devices, whatever device is current", () => {
    const result = runOn({ devices: twoDevices }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const first = cuda.malloc(16).value;
      cuda.setDevice(1);
      const second = cuda.malloc(16).value;
      const errors = [
        cuda.memsetAsync(first, 4, 16, stream),
        cuda.memcpyAsync(second, first, 16, 3, stream),
        cuda.memcpyPeerAsync(second, 1, first, 0, 16, stream),
        cuda.synchronizeStream(stream),
      ];
      return {
        errors,
        second: cuda.bytesOf(second, 16),
        refused: [
          cuda.memcpyPeerAsync(second, 2, first, 0, 16, stream),
          cuda.memcpyPeerAsync(second, 1, first, -1, 16, stream),
          cuda.memcpyPeerAsync(new Uint8Array(16), 1, first, 0, 16, stream),
          cuda.memcpyPeerAsync(null, 7, null, 8, 0, stream),
        ],
      };
    });
    expect(result).toEqual({
      errors: [0, 0, 0, 0],
      second: Array(16).fill(4),
      refused: [101, 101, 1, 0],
    });
  });
});

describe("the synchronous functions", () => {
  test("return when CUDA's do", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const device = cuda.malloc(16).value;
      const other = cuda.malloc(16).value;
      const pinned = cuda.hostAlloc(16).value;
      const host = new Uint8Array(16);
      const isDone = (error: number) => {
        const done = cuda.queryStream(null);
        cuda.synchronizeDevice();
        return [error, done];
      };
      return {
        fromHost: isDone(cuda.memcpy(device, host, 16, 1)),
        fromPinned: isDone(cuda.memcpy(device, pinned, 16, 1)),
        toHost: isDone(cuda.memcpy(host, device, 16, 2)),
        toPinned: isDone(cuda.memcpy(pinned, device, 16, 2)),
        onHost: isDone(cuda.memcpy(host, pinned, 16, 0)),
        onDevice: isDone(cuda.memcpy(device, other, 16, 3)),
        fill: isDone(cuda.memset(device, 1, 16)),
        fillPinned: isDone(cuda.memset(pinned, 1, 16)),
      };
    });
    expect(result).toEqual({
      fromHost: [0, 0],
      fromPinned: [0, 0],
      toHost: [0, 0],
      toPinned: [0, 0],
      onHost: [0, 0],
      onDevice: [0, 600],
      fill: [0, 600],
      fillPinned: [0, 0],
    });
  });

  test("that free memory wait for the devices that may use it", () => {
    const result = runOn({ operationNs: "150000000", devices: twoDevices }, ({ cuda }) => {
      const stream = cuda.createStream(1).value;
      const device = cuda.malloc(16).value;
      const pinned = cuda.hostAlloc(16).value;
      const isDone = (call: () => number) => {
        cuda.memcpyAsync(device, pinned, 16, 1, stream);
        const result = call();
        const done = cuda.queryStream(stream);
        cuda.synchronizeStream(stream);
        return [result, done];
      };
      const first = cuda.malloc(16).value;
      const pinnedHere = cuda.hostAlloc(16).value;
      cuda.setDevice(1);
      const second = cuda.malloc(16).value;
      const pinnedThere = cuda.hostAlloc(16).value;
      return {
        device: isDone(() => cuda.free(first)),
        otherDevice: isDone(() => cuda.free(second)),
        null: isDone(() => cuda.free(null)),
        unknown: isDone(() => cuda.free(4096)),
        pinnedHere: isDone(() => cuda.freeHost(pinnedHere)),
        pinnedThere: isDone(() => cuda.freeHost(pinnedThere)),
      };
    });
    expect(result).toEqual({
      device: [0, 0],
      otherDevice: [0, 600],
      null: [0, 600],
      unknown: [1, 600],
      pinnedHere: [0, 0],
      pinnedThere: [0, 0],
    });
  });
});

describe("the legacy default stream", () => {
  test("waits for blocking streams, and they for it, but not for each other", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const first = cuda.createStream().value;
      const second = cuda.createStream().value;
      const device = cuda.malloc(4).value;
      const pinned = cuda.hostAlloc(4).value;
      cuda.poke(pinned, 0, 4);
      cuda.memsetAsync(device, 1, 1, first);
      // Each reads what was written before only if it waits for it.
      cuda.memcpyAsync(pinned, device, 1, 2, null);
      cuda.memsetAsync(device, 2, 1, second);
      cuda.memcpyAsync(pinned + 1, device, 1, 2, cuda.createStream().value);
      const busy = [null, 1, first, second].map((stream) => cuda.queryStream(stream));
      cuda.synchronizeDevice();
      return { busy, bytes: [0, 1].map((index) => cuda.dereference(pinned + index)) };
    });
    // The second copy does not wait for the second memset, only for the legacy stream.
    expect(result).toEqual({ busy: [600, 600, 600, 600], bytes: [1, expect.any(Number)] });
  });

  test("keeps two blocking streams in order by an operation between them", () => {
    const result = runOn({}, ({ cuda }) => {
      const streams = Array.from({ length: 4 }, () => cuda.createStream().value);
      const device = cuda.malloc(1).value;
      const wrong: number[] = [];
      const pinned = cuda.hostAlloc(256).value;
      for (let round = 0; round < 40; round++) {
        for (let index = 0; index < 256; index++) {
          cuda.memsetAsync(device, index, 1, Number(streams[index % 4]));
          cuda.memcpyAsync(pinned + index, device, 1, 2, null);
        }
        cuda.synchronizeStream(null);
        for (let index = 0; index < 256; index++) {
          if (cuda.dereference(pinned + index) !== index) wrong.push(index);
        }
      }
      return wrong;
    });
    expect(result).toEqual([]);
  });

  test("and non-blocking streams leave each other alone", () => {
    const result = runOn({ operationNs: "300000000" }, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream(1).value;
      const device = cuda.malloc(2).value;
      cuda.memsetAsync(device, 1, 1, stream);
      simulator.setDelay({});
      const legacy = cuda.timed(() => [
        cuda.memcpy(new Uint8Array(1), device + 1, 1, 2),
        cuda.queryStream(null),
      ]);
      const streamStillBusy = cuda.queryStream(stream);
      cuda.synchronizeDevice();
      simulator.setDelay({ operationNs: 300e6 });
      cuda.memset(device, 1, 1);
      simulator.setDelay({});
      cuda.memsetAsync(device + 1, 1, 1, stream);
      const synchronized = cuda.synchronizeStream(stream);
      return {
        legacy: legacy.result,
        streamStillBusy,
        synchronized,
        legacyStillBusy: cuda.queryStream(null),
      };
    });
    expect(result).toEqual({
      legacy: [0, 0],
      streamStillBusy: 600,
      synchronized: 0,
      legacyStillBusy: 600,
    });
  });

  test("is busy as long as blocking streams are, and they only with work of their own", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const [first, second] = [cuda.createStream().value, cuda.createStream().value];
      const device = cuda.malloc(1).value;
      cuda.memsetAsync(device, 1, 1, first);
      const blockingBusy = [null, first, second, 2].map((stream) => cuda.queryStream(stream));
      const waited = [cuda.synchronizeStream(null), cuda.queryStream(first)];
      cuda.memset(device, 1, 1);
      const legacyBusy = [null, first, second, 2].map((stream) => cuda.queryStream(stream));
      return { blockingBusy, waited, legacyBusy };
    });
    expect(result).toEqual({
      blockingBusy: [600, 600, 0, 0],
      waited: [0, 0],
      legacyBusy: [600, 0, 0, 0],
    });
  });

  test("is one for each device", () => {
    const result = runOn({ operationNs: "150000000", devices: twoDevices }, ({ cuda }) => {
      const first = cuda.malloc(1).value;
      cuda.memset(first, 1, 1);
      cuda.setDevice(1);
      const other = cuda.queryStream(null);
      const otherDevice = cuda.timed(() => cuda.synchronizeDevice());
      cuda.setDevice(0);
      return { other, otherDevice, own: cuda.queryStream(null) };
    });
    expect(result).toMatchObject({ other: 0, otherDevice: { result: 0 }, own: 600 });
  });

  test("orders a copy between two devices on both", () => {
    const result = runOn({ operationNs: "150000000", devices: twoDevices }, ({ cuda }) => {
      const first = cuda.malloc(1).value;
      cuda.setDevice(1);
      const stream = cuda.createStream().value;
      const second = cuda.malloc(1).value;
      const pinned = cuda.hostAlloc(1).value;
      cuda.memsetAsync(second, 7, 1, stream);
      cuda.setDevice(0);
      cuda.memcpy(first, second, 1, 3);
      cuda.memcpyAsync(second, first, 1, 3, null);
      cuda.setDevice(1);
      cuda.memcpyAsync(pinned, second, 1, 2, stream);
      cuda.synchronizeStream(stream);
      cuda.setDevice(0);
      return [cuda.bytesOf(first, 1), cuda.dereference(pinned)];
    });
    expect(result).toEqual([[7], 7]);
  });

  test("is not a thread's own, which is like a stream that was created", () => {
    const result = runOn(
      { operationNs: "150000000" },
      async ({ cuda, CudartSimulator: simulator }) => {
        const device = cuda.malloc(2).value;
        cuda.memsetAsync(device, 5, 1, 2);
        const busy = [null, 2].map((stream) => cuda.queryStream(stream));
        const byte = cuda.bytesOf(device, 1);
        simulator.setDelay({ operationNs: 500e6 });
        const worker = new Worker(cuda.ownStreamPath);
        const seen = await new Promise<OwnStream>((resolve, reject) => {
          worker.addEventListener("message", (event) => resolve(event.data));
          worker.addEventListener("error", reject);
          worker.postMessage(device);
        });
        const here = [cuda.queryStream(2), cuda.queryStream(null)];
        worker.terminate();
        const waited = cuda.synchronizeDevice();
        return { busy, byte, seen, here, waited, bytes: cuda.bytesOf(device, 1) };
      },
    );
    expect(result).toEqual({
      busy: [600, 600],
      byte: [5],
      seen: { queued: 0, busy: 600 },
      here: [0, 600],
      waited: 0,
      bytes: [6],
    });
  });
});

describe("an event", () => {
  test("is done when what was queued before it is, and not what comes later", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8).value;
      const event = cuda.createEvent().value;
      const unrecorded = [cuda.queryEvent(event), cuda.synchronizeEvent(event)];
      cuda.memsetAsync(device, 1, 8, stream);
      const recorded = cuda.recordEvent(event, stream);
      simulator.setDelay({ operationNs: 300e6 });
      cuda.memsetAsync(device, 2, 8, stream);
      const early = cuda.queryEvent(event);
      const waited = cuda.synchronizeEvent(event);
      return {
        unrecorded,
        recorded,
        early,
        waited,
        late: cuda.queryEvent(event),
        stream: cuda.queryStream(stream),
      };
    });
    expect(result).toEqual({
      unrecorded: [0, 0],
      recorded: 0,
      early: 600,
      waited: 0,
      late: 0,
      stream: 600,
    });
  });

  test("orders streams, of one device and of two", () => {
    const result = runOn({ operationNs: "150000000", devices: twoDevices }, ({ cuda }) => {
      const streamOf = (device: number): number => {
        cuda.setDevice(device);
        return cuda.createStream(1).value;
      };
      const writer = streamOf(0);
      const sameDevice = streamOf(0);
      const otherDevice = streamOf(1);
      cuda.setDevice(0);
      const source = cuda.malloc(1).value;
      const pinned = cuda.hostAlloc(3).value;
      cuda.poke(pinned, 0, 3);
      const event = cuda.createEvent(2).value;
      cuda.memsetAsync(source, 1, 1, writer);
      cuda.memsetAsync(source, 9, 1, writer);
      const errors = [
        cuda.recordEvent(event, writer),
        cuda.waitEvent(sameDevice, event),
        cuda.waitEvent(otherDevice, event),
        cuda.memcpyAsync(pinned, source, 1, 2, sameDevice),
        cuda.memcpyAsync(pinned + 1, source, 1, 2, otherDevice),
        // This one waits for nothing.
        cuda.memcpyAsync(pinned + 2, source, 1, 2, streamOf(0)),
      ];
      cuda.setDevice(0);
      cuda.synchronizeDevice();
      cuda.synchronizeStream(otherDevice);
      const read = [0, 1, 2].map((index) => cuda.dereference(pinned + index));
      return { errors, waited: read.slice(0, 2), early: read[2] !== 9 };
    });
    expect(result).toEqual({ errors: Array(6).fill(0), waited: [9, 9], early: true });
  });

  test("that is recorded again changes only what waits for it later", () => {
    const result = runOn({ operationNs: "300000000" }, ({ cuda }) => {
      const [slow, idle, early, late] = [0, 1, 2, 3].map(() => cuda.createStream(1).value);
      const device = cuda.malloc(1).value;
      const event = cuda.createEvent().value;
      cuda.memsetAsync(device, 1, 1, Number(slow));
      cuda.recordEvent(event, Number(slow));
      cuda.waitEvent(Number(early), event);
      cuda.recordEvent(event, Number(idle));
      cuda.waitEvent(Number(late), event);
      cuda.synchronizeEvent(event);
      cuda.synchronizeStream(Number(late));
      const queries = [slow, idle, early, late].map((stream) => cuda.queryStream(Number(stream)));
      return { queries, event: cuda.queryEvent(event) };
    });
    expect(result).toEqual({ queries: [600, 0, 600, 0], event: 0 });
  });

  test("on the legacy default stream captures the blocking streams too", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1).value;
      const event = cuda.createEvent().value;
      const after = cuda.createEvent().value;
      cuda.memsetAsync(device, 1, 1, stream);
      cuda.recordEvent(event, null);
      // It waits for the legacy stream, and that for the first.
      cuda.recordEvent(after, cuda.createStream().value);
      return [
        cuda.queryEvent(event),
        cuda.queryEvent(after),
        cuda.synchronizeEvent(after),
        cuda.queryStream(stream),
      ];
    });
    expect(result).toEqual([600, 600, 0, 0]);
  });

  test("may be destroyed before it is done, and so may the stream that it is of", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const waiting = cuda.createStream(1).value;
      const device = cuda.malloc(1).value;
      const event = cuda.createEvent().value;
      const kept = cuda.createEvent().value;
      cuda.memsetAsync(device, 1, 1, stream);
      cuda.recordEvent(kept, stream);
      cuda.recordEvent(event, stream);
      cuda.waitEvent(waiting, event);
      const destroyed = [cuda.destroyEvent(event), cuda.destroyStream(stream)];
      const early = [cuda.queryStream(waiting), cuda.queryEvent(kept)];
      const waited = cuda.synchronizeStream(waiting);
      return {
        destroyed,
        early,
        waited,
        late: cuda.queryEvent(kept),
        again: cuda.destroyEvent(kept),
      };
    });
    expect(result).toEqual({ destroyed: [0, 0], early: [600, 600], waited: 0, late: 0, again: 0 });
  });

  test("has the flags that CUDA has", () => {
    const result = runOn({}, ({ cuda }) => ({
      flags: Array.from({ length: 10 }, (_, flags) => cuda.createEvent(flags).error),
      plain: cuda.createPlainEvent().error,
      nowhere: [
        cuda.callWithZeros("cudaEventCreate"),
        cuda.callWithZeros("cudaEventCreateWithFlags"),
      ],
      waits: [0, 1, 2].map((flags) => cuda.waitEvent(null, cuda.createEvent().value, flags)),
    }));
    expect(result).toEqual({
      flags: [0, 0, 0, 0, 1, 1, 0, 0, 1, 1],
      plain: 0,
      nowhere: [1, 1],
      waits: [0, 401, 1],
    });
  });

  test("is told from everything that is none", () => {
    const result = runOn({ devices: twoDevices }, ({ cuda }) => {
      const destroyed = cuda.createEvent().value;
      cuda.destroyEvent(destroyed);
      const stream = cuda.createStream().value;
      const device = cuda.malloc(8).value;
      const attempts = [null, 1, 4096, destroyed, stream, device].map((event) => [
        cuda.queryEvent(event),
        cuda.synchronizeEvent(event),
        cuda.recordEvent(event, stream),
        cuda.waitEvent(stream, event),
        cuda.destroyEvent(event),
        cuda.elapsedMs(event, event).error,
      ]);
      const here = cuda.createEvent().value;
      cuda.setDevice(1);
      const there = cuda.createEvent().value;
      return {
        attempts: [...new Set(attempts.flat())],
        devices: [
          cuda.recordEvent(here, null),
          cuda.recordEvent(there, null),
          cuda.recordEvent(there, stream),
          cuda.recordEvent(here, stream),
        ],
      };
    });
    expect(result).toEqual({ attempts: [400], devices: [400, 0, 400, 0] });
  });

  test("measures the time between two", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1).value;
      const [start, end, untimed] = [
        cuda.createEvent().value,
        cuda.createEvent().value,
        cuda.createEvent(2).value,
      ];
      const unrecorded = cuda.elapsedMs(start, end);
      cuda.recordEvent(start, stream);
      cuda.memsetAsync(device, 1, 1, stream);
      cuda.recordEvent(end, stream);
      cuda.recordEvent(untimed, stream);
      const early = [cuda.elapsedMs(start, end), cuda.peekError()];
      cuda.lastError();
      const pending = [cuda.elapsedMs(start, end).error, cuda.peekError()];
      cuda.synchronizeEvent(end);
      return {
        unrecorded,
        early,
        pending,
        forward: cuda.elapsedMs(start, end),
        back: cuda.elapsedMs(end, start),
        untimed: cuda.elapsedMs(start, untimed).error,
        nowhere: cuda.callWithZeros("cudaEventElapsedTime"),
      };
    });
    expect(result).toMatchObject({
      unrecorded: { error: 400, ms: -1 },
      early: [{ error: 600, ms: -1 }, 400],
      pending: [600, 0],
      forward: { error: 0 },
      back: { error: 0, ms: -result.forward.ms },
      untimed: 400,
      nowhere: 1,
    });
    expect(result.forward.ms).toBeGreaterThan(149);
    expect(result.forward.ms).toBeLessThan(1000);
  });

  test("that is not done is no error to be kept", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1).value;
      const event = cuda.createEvent().value;
      cuda.memsetAsync(device, 1, 1, stream);
      cuda.recordEvent(event, stream);
      return [cuda.queryStream(stream), cuda.queryEvent(event), cuda.peekError(), cuda.lastError()];
    });
    expect(result).toEqual([600, 600, 0, 0]);
  });
});

describe("a host function", () => {
  test("is called in its turn, on the stream's thread", () => {
    const result = runOn({ operationNs: "150000000" }, ({ cuda }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(1).value;
      // sem_post counts the semaphore's first word up.
      const semaphore = cuda.hostAlloc(64).value;
      cuda.memsetAsync(device, 1, 1, stream);
      const launched = cuda.launchHostFunction(stream, cuda.cFunction("sem_post"), semaphore);
      const early = cuda.dereference(semaphore);
      cuda.synchronizeStream(stream);
      return {
        launched,
        early,
        late: cuda.dereference(semaphore),
        null: cuda.launchHostFunction(stream, null, 0),
      };
    });
    expect(result).toEqual({ launched: 0, early: 0, late: 1, null: 1 });
  });

  test("may not call CUDA", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream().value;
      // It would wait for itself.
      cuda.launchHostFunction(stream, cuda.cudaFunction("cudaStreamSynchronize"), stream);
      return [cuda.synchronizeStream(stream), simulator.callCount("cudaStreamSynchronize")];
    });
    expect(result).toEqual([0, 2]);
  });
});

describe("peer access", () => {
  test("is between different devices, once", () => {
    const result = runOn({ devices: twoDevices }, ({ cuda }) => ({
      can: [cuda.canAccessPeer(0, 1), cuda.canAccessPeer(1, 0), cuda.canAccessPeer(1, 1)].map(
        ({ error, value }) => [error, value],
      ),
      cannotBeAsked: [cuda.canAccessPeer(0, 2).error, cuda.canAccessPeer(-1, 0).error],
      nowhere: cuda.callWithZeros("cudaDeviceCanAccessPeer"),
      disabled: cuda.disablePeerAccess(1),
      enabled: [cuda.enablePeerAccess(1), cuda.enablePeerAccess(1)],
      otherWay: [
        cuda.setDevice(1),
        cuda.disablePeerAccess(0),
        cuda.enablePeerAccess(0),
        cuda.setDevice(0),
      ],
      disabledAgain: [
        cuda.disablePeerAccess(1),
        cuda.disablePeerAccess(1),
        cuda.enablePeerAccess(1),
      ],
      refused: [
        cuda.enablePeerAccess(0),
        cuda.enablePeerAccess(2),
        cuda.enablePeerAccess(1, 1),
        cuda.disablePeerAccess(2),
      ],
    }));
    expect(result).toEqual({
      can: [
        [0, 1],
        [0, 1],
        [0, 0],
      ],
      cannotBeAsked: [101, 101],
      nowhere: 1,
      disabled: 705,
      enabled: [0, 704],
      otherWay: [0, 705, 0, 0],
      disabledAgain: [0, 705, 0],
      refused: [217, 101, 1, 101],
    });
  });
});

describe("an operation that fails when it runs", () => {
  test("is reported once, by the next call that waits for its stream", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream().value;
      const other = cuda.createStream(1).value;
      const device = cuda.malloc(4).value;
      cuda.memset(device, 1, 4);
      cuda.synchronizeDevice();
      simulator.failOperation({ nth: 2, error: "cudaErrorUnknown" });
      const queued = [0, 1, 2].map((index) => cuda.memsetAsync(device + index, 2, 1, stream));
      const last = cuda.peekError();
      const others = [cuda.synchronizeStream(other), cuda.memsetAsync(device + 3, 2, 1, other)];
      const waited = cuda.synchronizeStream(stream);
      const reported = cuda.lastError();
      const again = [cuda.synchronizeStream(stream), cuda.synchronizeDevice()];
      return { queued, last, others, waited, reported, again, bytes: cuda.bytesOf(device, 4) };
    });
    expect(result).toEqual({
      queued: [0, 0, 0],
      last: 0,
      others: [0, 0],
      waited: 999,
      reported: 999,
      again: [0, 0],
      bytes: [2, 1, 2, 2],
    });
  });

  test.each(["queryStream", "synchronizeEvent", "queryEvent", "synchronizeDevice"] as const)(
    "is reported by %s",
    (how) => {
      const source = `({ cuda, CudartSimulator: simulator }) => {
        const stream = cuda.createStream().value;
        const device = cuda.malloc(4).value;
        const [before, event] = [cuda.createEvent().value, cuda.createEvent().value];
        cuda.recordEvent(before, stream);
        simulator.failOperation({ error: 304 });
        simulator.setDelay({ operationNs: 30e6 });
        cuda.memsetAsync(device, 1, 4, stream);
        cuda.recordEvent(event, stream);
        const earlier = cuda.synchronizeEvent(before);
        const ask = {
          queryStream: () => cuda.queryStream(stream),
          queryEvent: () => cuda.queryEvent(event),
          synchronizeEvent: () => cuda.synchronizeEvent(event),
          synchronizeDevice: () => cuda.synchronizeDevice(),
        }.${how};
        let answer = 600;
        while (answer === 600) answer = ask();
        return { earlier, answer, again: ask() };
      }`;
      const body = { toString: () => source } as unknown as () => unknown;
      expect(runOn({}, body)).toEqual({ earlier: 0, answer: 304, again: 0 });
    },
  );

  test("is reported by its own call if that waits", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const stream = cuda.createStream().value;
      const device = cuda.malloc(4).value;
      const host = new Uint8Array(4).fill(3);
      simulator.failOperation({ error: 999 });
      const error = cuda.memcpyAsync(host, device, 4, 2, stream);
      return { error, host: [...host], again: cuda.synchronizeStream(stream) };
    });
    expect(result).toEqual({ error: 999, host: [3, 3, 3, 3], again: 0 });
  });

  test("is not forgotten with its stream", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const device = cuda.malloc(4).value;
      const failOn = (kept: boolean) => {
        const stream = cuda.createStream().value;
        const event = cuda.createEvent().value;
        simulator.failOperation({ error: 999 });
        cuda.memsetAsync(device, 1, 4, stream);
        if (kept) cuda.recordEvent(event, stream);
        cuda.destroyStream(stream);
        return event;
      };
      failOn(false);
      const ofDevice = [cuda.synchronizeDevice(), cuda.synchronizeDevice()];
      const event = failOn(true);
      return { ofDevice, ofEvent: [cuda.synchronizeEvent(event), cuda.synchronizeDevice()] };
    });
    expect(result).toEqual({ ofDevice: [999, 0], ofEvent: [999, 0] });
  });

  test("ends all work on its device with an error that CUDA calls fatal, until it is cleared", () => {
    const result = runOn(
      { devices: twoDevices, faults: "operation:2:cudaErrorIllegalAddress" },
      ({ cuda, CudartSimulator: simulator }) => {
        const stream = cuda.createStream().value;
        const other = cuda.createStream(1).value;
        const event = cuda.createEvent().value;
        const device = cuda.malloc(4).value;
        const pinned = cuda.hostAlloc(64).value;
        cuda.memset(device, 1, 4);
        cuda.synchronizeDevice();
        cuda.memsetAsync(device, 2, 1, stream);
        cuda.memsetAsync(device + 1, 2, 1, stream);
        // Without effect, the host function too.
        cuda.memsetAsync(device + 2, 2, 1, stream);
        cuda.launchHostFunction(stream, cuda.cFunction("sem_post"), pinned);
        const waited = [cuda.synchronizeStream(stream), cuda.synchronizeStream(stream)];
        const broken = [
          cuda.queryStream(other),
          cuda.queryEvent(event),
          cuda.recordEvent(event, other),
          cuda.malloc(16).error,
          cuda.free(device),
          cuda.memcpyAsync(device, pinned, 4, 1, other),
          cuda.synchronizeDevice(),
          cuda.createStream().error,
        ];
        const whole = [cuda.setDevice(0), cuda.currentDevice().error, cuda.deviceCount().error];
        cuda.setDevice(1);
        const otherDevice = [
          cuda.malloc(16).error,
          cuda.synchronizeDevice(),
          cuda.queryStream(other),
        ];
        cuda.setDevice(0);
        simulator.clearFaults();
        const cleared = [cuda.synchronizeDevice(), cuda.queryStream(stream), cuda.malloc(16).error];
        return {
          waited,
          broken,
          whole,
          otherDevice,
          cleared,
          bytes: cuda.bytesOf(device, 4),
          called: cuda.dereference(pinned),
        };
      },
    );
    expect(result).toEqual({
      waited: [700, 700],
      broken: Array(8).fill(700),
      whole: [0, 0, 0],
      otherDevice: [0, 0, 700],
      cleared: [0, 0, 0],
      bytes: [2, 1, 1, 1],
      called: 0,
    });
  });

  test("counts neither synchronous work nor work of nothing", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const device = cuda.malloc(4).value;
      const other = cuda.malloc(4).value;
      simulator.failOperation({ error: 999 });
      cuda.memset(device, 1, 4);
      cuda.memcpy(other, device, 4, 3);
      cuda.memsetAsync(device, 1, 0, null);
      const before = cuda.synchronizeDevice();
      cuda.memcpyPeerAsync(other, 0, device, 0, 4, null);
      return { before, after: cuda.synchronizeDevice() };
    });
    expect(result).toEqual({ before: 0, after: 999 });
  });

  test.each([
    ["a missing error", {}, TypeError],
    ["success", { error: 0 }, RangeError],
    ["an unknown error", { error: 5000 }, RangeError],
    ["an unknown name", { error: "cudaErrorNo" }, RangeError],
    ["an operation before the next", { error: 2, nth: 0 }, RangeError],
    ["an operation that is no number", { error: 2, nth: "1" }, TypeError],
  ])("cannot fail with %s", (_, failure, errorType) => {
    expect(() => CudartSimulator.failOperation(failure as never)).toThrow(errorType);
  });
});

describe("the delay", () => {
  test("comes from the environment, and can be changed", () => {
    const result = runOn(
      { nsPerByte: "0.05", operationNs: "1500.25" },
      ({ CudartSimulator: simulator }) => {
        const first = simulator.delay();
        simulator.setDelay({ nsPerByte: 2 });
        const second = simulator.delay();
        simulator.setDelay({});
        return [first, second, simulator.delay()];
      },
    );
    expect(result).toEqual([
      { nsPerByte: 0.05, operationNs: 1500.25 },
      { nsPerByte: 2, operationNs: 0 },
      { nsPerByte: 0, operationNs: 0 },
    ]);
  });

  test.each([
    "-1",
    ".5",
    "1.",
    "1e3",
    "0x1",
    "1000000001",
    "99999999999999999999",
    " 1",
    "1 ",
    "0,5",
    "nan",
  ])("of a malformed environment: %p", (text) => {
    const variables = ["nsPerByte", "operationNs"] as const;
    const names = ["CUDART_SIM_NS_PER_BYTE", "CUDART_SIM_OPERATION_NS"];
    variables.forEach((variable, index) => {
      const { stdout, stderr } = spawnOn(
        { [variable]: text },
        ({ cuda }) => cuda.malloc(256).error,
      );
      expect(JSON.parse(stdout)).toBe(3);
      expect(stderr).toStartWith(`cudart_sim: ${names[index]}="${text}" is malformed: expected`);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    });
  });

  test.each([
    ["a negative time", { nsPerByte: -1 }, RangeError],
    ["too long a time", { operationNs: 1e9 + 1 }, RangeError],
    ["a time that is no number", { operationNs: Number.NaN }, RangeError],
    ["a time that is a string", { nsPerByte: "1" }, TypeError],
  ])("cannot be %s", (_, delay, errorType) => {
    const before = CudartSimulator.delay();
    expect(() => CudartSimulator.setDelay(delay as never)).toThrow(errorType);
    expect(CudartSimulator.delay()).toEqual(before);
  });
});
