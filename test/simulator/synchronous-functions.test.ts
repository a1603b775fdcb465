import { describe, expect, test } from "bun:test";
import { runOn, twoDevices } from "./process.ts";

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
