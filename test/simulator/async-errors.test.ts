import { describe, expect, test } from "bun:test";
import { CudartSimulator } from "../../src/simulator.ts";
import { cuda as ownCuda } from "./cudart.ts";
import { runOn, twoDevices } from "./process.ts";

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

  test("ends all work of the process with a sticky error, until it is cleared", () => {
    const result = runOn(
      { devices: twoDevices, faults: "operation:2:cudaErrorIllegalAddress" },
      ({ cuda, CudartSimulator: simulator }) => {
        for (const id of [1, 0]) cuda.setDevice(id); // which then have contexts
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
          cuda.free(null),
          cuda.freeHost(pinned),
          cuda.createEvent().error,
        ];
        const needNoContext = [
          cuda.deviceCount().error,
          cuda.attribute(75, 1).error,
          cuda.canAccessPeer(0, 1).error,
          cuda.pointerAttributes(pinned).error,
          cuda.runtimeVersion().error,
          cuda.driverVersion().error,
        ];
        cuda.setDevice(0);
        simulator.clearFaults();
        const cleared = [cuda.synchronizeDevice(), cuda.queryStream(stream), cuda.malloc(16).error];
        return {
          waited,
          broken,
          whole,
          otherDevice,
          needNoContext,
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
      otherDevice: Array(6).fill(700),
      needNoContext: Array(6).fill(0),
      cleared: [0, 0, 0],
      bytes: [2, 1, 1, 1],
      called: 0,
    });
  });

  test.each([214, 226, 700, 702, 710, 714, 715, 716, 717, 718, 719, 721, 810, 911])(
    "ends all work with error %d, which a call returned",
    (error) => {
      for (const device of [1, 0]) ownCuda.setDevice(device); // which then have contexts
      CudartSimulator.failCall({ function: "cudaMemset", error });
      const failed = ownCuda.memset(null, 0, 1);
      const later = [
        ownCuda.malloc(16).error,
        ownCuda.setDevice(1),
        ownCuda.free(null),
        ownCuda.freeHost(null),
        ownCuda.setDevice(0),
      ];
      CudartSimulator.clearFaults();
      expect({ failed, later, cleared: ownCuda.free(null) }).toEqual({
        failed: error,
        later: [error, 0, error, error, 0],
        cleared: 0,
      });
      ownCuda.lastError();
    },
  );

  test.each([2, 35, 46, 101, 711, 720, 801, 901, 999])("ends nothing with error %d", (error) => {
    CudartSimulator.failCall({ function: "cudaMalloc", error });
    const block = [ownCuda.malloc(16), ownCuda.malloc(16)] as const;
    expect(block.map((outcome) => outcome.error)).toEqual([error, 0]);
    ownCuda.free(block[1].value);
    ownCuda.lastError();
  });

  test("keeps the first of several sticky errors", () => {
    CudartSimulator.failCall({ function: "cudaMalloc", error: 719 });
    CudartSimulator.failCall({ function: "cudaMalloc", nth: 2, error: 700 });
    const errors = [0, 0, 0].map(() => ownCuda.malloc(16).error);
    CudartSimulator.clearFaults();
    ownCuda.lastError();
    expect(errors).toEqual([719, 719, 719]);
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
