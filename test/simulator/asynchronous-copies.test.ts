import { describe, expect, test } from "bun:test";
import { runOn, twoDevices } from "./process.ts";

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
