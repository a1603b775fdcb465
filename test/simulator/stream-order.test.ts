import { describe, expect, test } from "bun:test";
import type { OwnStream } from "./own-stream.ts";
import { runOn, twoDevices } from "./process.ts";

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
