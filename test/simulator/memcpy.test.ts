import { describe, expect, test } from "bun:test";
import { runOn } from "./process.ts";

describe("cudaMemcpy", () => {
  test("copies between host, pinned and device memory with every kind that fits", () => {
    const result = runOn({ devices: "8.0:1048576,8.0:1048576" }, ({ cuda }) => {
      const first = cuda.malloc(16).value;
      cuda.setDevice(1);
      const second = cuda.malloc(16).value;
      const pinned = cuda.hostAlloc(16).value;
      const source = new Uint8Array(Array.from({ length: 16 }, (_, index) => index + 1));
      const target = new Uint8Array(16);
      const steps = [
        cuda.memcpy(first, source, 16, 1),
        cuda.memcpy(second, first, 16, 3),
        cuda.memcpy(pinned, second, 16, 2),
        cuda.memcpy(first, pinned, 16, 3),
        cuda.memcpy(second, first, 16, 4),
        cuda.memcpy(pinned, second, 16, 2),
        cuda.memcpy(target, pinned, 16, 0),
      ];
      return { steps, target: [...target] };
    });
    expect(result.steps).toEqual(Array(7).fill(0));
    expect(result.target).toEqual(Array.from({ length: 16 }, (_, index) => index + 1));
  });

  // As an H100 with CUDA 13.0 answers.
  test("refuses ordinary host memory where a kind says device, and nothing else", () => {
    const result = runOn({}, ({ cuda }) => {
      const places = {
        device: cuda.malloc(16).value,
        pinned: cuda.hostAlloc(16).value,
        host: new Uint8Array(16),
      };
      const outcomes: string[] = [];
      for (const [to, target] of Object.entries(places)) {
        for (const [from, source] of Object.entries(places)) {
          const errors = [0, 1, 2, 3, 4].map((kind) => cuda.memcpy(target, source, 16, kind));
          outcomes.push(`${to} <- ${from}: ${errors.join(" ")}`);
        }
      }
      return outcomes;
    });
    expect(result).toEqual([
      "device <- device: 0 0 0 0 0",
      "device <- pinned: 0 0 0 0 0",
      "device <- host: 0 0 1 1 0",
      "pinned <- device: 0 0 0 0 0",
      "pinned <- pinned: 0 0 0 0 0",
      "pinned <- host: 0 0 1 1 0",
      "host <- device: 0 1 0 1 0",
      "host <- pinned: 0 1 0 1 0",
      "host <- host: 0 1 1 1 0",
    ]);
  });

  test("refuses a kind that there is not, and changes nothing", () => {
    const result = runOn({}, ({ cuda }) => {
      const device = cuda.malloc(16).value;
      cuda.memset(device, 9, 16);
      const host = new Uint8Array(16).fill(5);
      const errors = [cuda.memcpy(device, host, 16, 5), cuda.memcpy(host, device, 16, -1)];
      return { errors, device: cuda.bytesOf(device, 16), host: [...host] };
    });
    expect(result).toEqual({
      errors: [21, 21],
      device: Array(16).fill(9),
      host: Array(16).fill(5),
    });
  });

  test("stays inside one live block", () => {
    const result = runOn({}, ({ cuda }) => {
      const block = cuda.malloc(1000).value;
      const neighbour = cuda.malloc(1000).value;
      const host = new Uint8Array(4096);
      const errors = {
        whole: cuda.memcpy(block, host, 1000, 1),
        tail: cuda.memcpy(block + 999, host, 1, 1),
        past: cuda.memcpy(block + 999, host, 2, 1),
        acrossBlocks: cuda.memcpy(host, block, neighbour - block + 1, 2),
        behind: cuda.memcpy(block + 1000, host, 1, 1),
        overflow: cuda.memcpy(block, host, 2n ** 64n - 1n, 1),
        filled: [cuda.memset(block, 0, 1000), cuda.memset(block, 0, 1001)],
      };
      cuda.free(block);
      return { ...errors, freed: cuda.memcpy(block, host, 1, 4) };
    });
    expect(result).toEqual({
      whole: 0,
      tail: 0,
      past: 1,
      acrossBlocks: 1,
      behind: 1,
      overflow: 1,
      filled: [0, 1],
      freed: 1,
    });
  });

  test("of nothing succeeds, of something at null does not", () => {
    const result = runOn({}, ({ cuda }) => {
      const device = cuda.malloc(16).value;
      const host = new Uint8Array(16);
      return {
        nothing: [
          cuda.memcpy(null, null, 0, 4),
          cuda.memcpy(null, null, 0, 5),
          cuda.memset(null, 0, 0),
        ],
        toNull: [cuda.memcpy(null, host, 1, 4), cuda.memset(null, 0, 1)],
        fromNull: [cuda.memcpy(device, null, 1, 4), cuda.memcpy(device, null, 1, 1)],
      };
    });
    expect(result).toEqual({ nothing: [0, 0, 0], toNull: [1, 1], fromNull: [1, 1] });
  });

  test("and cudaMemset fill device and pinned memory, and no other", () => {
    const result = runOn({}, ({ cuda }) => {
      const device = cuda.malloc(8).value;
      const pinned = cuda.hostAlloc(8).value;
      const host = new Uint8Array(8);
      return {
        errors: [device, pinned, host].map((place) => cuda.memset(place, 0x123, 8)),
        device: cuda.bytesOf(device, 8),
        pinned: cuda.dereference(pinned + 7),
        host: [...host],
      };
    });
    expect(result).toEqual({
      errors: [0, 0, 1],
      device: Array(8).fill(0x23),
      pinned: 0x23,
      host: Array(8).fill(0),
    });
  });
});
