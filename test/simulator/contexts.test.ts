import { describe, expect, test } from "bun:test";
import { CudartSimulator } from "../../src/simulator.ts";
import { runOn, twoDevices } from "./process.ts";

describe("a device's context", () => {
  test("is made by nothing that only asks", () => {
    const result = runOn({ devices: twoDevices }, ({ cuda, CudartSimulator: simulator }) => {
      cuda.deviceCount();
      cuda.currentDevice();
      cuda.attribute(75, 1);
      cuda.canAccessPeer(0, 1);
      cuda.pointerAttributes(16);
      cuda.queryEvent(null);
      cuda.runtimeVersion();
      cuda.errorName(2);
      cuda.lastError();
      return [0, 1].map((device) => [
        simulator.hasContext(device),
        cuda.contextState(device),
        cuda.currentContext(),
      ]);
    });
    const none = [false, { error: 0, value: 0 }, { error: 0, value: 0 }];
    expect(result).toEqual([none, none]);
  });

  test.each([
    "cudaSetDevice",
    "cudaMalloc",
    "cudaFree",
    "cudaHostAlloc",
    "cudaFreeHost",
    "cudaMemcpy",
    "cudaMemset",
    "cudaStreamQuery",
    "cudaStreamSynchronize",
    "cudaEventCreate",
    "cudaMemGetInfo",
    "cudaDeviceSynchronize",
  ])("is made by %s, on the current device alone", (name) => {
    const source = `({ cuda, CudartSimulator: simulator }) => {
      cuda.callWithZeros("${name}");
      return [simulator.hasContext(0), simulator.hasContext(1), cuda.contextState(0).value];
    }`;
    const body = { toString: () => source } as unknown as () => unknown;
    expect(runOn({ devices: twoDevices }, body)).toEqual([true, false, 1]);
  });

  test("is made for the peer too by peer access", () => {
    const result = runOn({ devices: twoDevices }, ({ cuda, CudartSimulator: simulator }) => {
      cuda.setDevice(1);
      const before = simulator.hasContext(0);
      cuda.enablePeerAccess(0);
      return [before, simulator.hasContext(0)];
    });
    expect(result).toEqual([false, true]);
  });

  test("is the driver's while it is retained, and then what the runtime works on", () => {
    const result = runOn({ devices: twoDevices }, ({ cuda, CudartSimulator: simulator }) => {
      const early = [cuda.retainContext(1).error, cuda.driverDevice(1).error];
      const init = [cuda.initDriver(1), cuda.initDriver(), cuda.driverDevice(1)];
      const context = cuda.retainContext(1).value;
      const retained = simulator.hasContext(1);
      const pushed = [cuda.pushContext(context), cuda.currentDevice().value];
      const stack = [cuda.currentContext().value === context];
      const released = [cuda.popContext().value === context, cuda.releaseContext(1)];
      const unused = [simulator.hasContext(1), cuda.releaseContext(1), cuda.pushContext(context)];
      cuda.pushContext(cuda.retainContext(1).value);
      const pointer = cuda.malloc(16).value;
      const event = cuda.createEvent().error;
      cuda.popContext();
      cuda.releaseContext(1);
      return {
        early,
        init,
        retained,
        pushed,
        stack,
        released,
        unused,
        event,
        on: cuda.pointerAttributes(pointer).device,
        after: [cuda.currentDevice().value, cuda.currentContext().value],
        contexts: [simulator.hasContext(0), simulator.hasContext(1)],
      };
    });
    expect(result).toEqual({
      early: [3, 3],
      init: [1, 0, { error: 0, value: 1 }],
      retained: true,
      pushed: [0, 1],
      stack: [true],
      released: [true, 0],
      unused: [false, 201, 201],
      event: 0,
      on: 1,
      after: [0, 0],
      contexts: [false, true],
    });
  });

  test("is given back to what was current, however deep", () => {
    const result = runOn({ devices: twoDevices }, ({ cuda }) => {
      cuda.setDevice(0);
      const contexts = [0, 1].map((device) => cuda.retainContext(device).value);
      cuda.pushContext(contexts[1]!);
      cuda.pushContext(contexts[0]!);
      cuda.setDevice(1);
      const popped = [0, 0, 0, 0].map(() => {
        const { error, value } = cuda.popContext();
        return [error, contexts.indexOf(value), cuda.currentDevice().value];
      });
      return { popped, refused: [cuda.pushContext(null), cuda.pushContext(4096)] };
    });
    expect(result).toEqual({
      popped: [
        [0, 1, 1],
        [0, 1, 0],
        [0, 0, 0],
        [201, -1, 0],
      ],
      refused: [201, 201],
    });
  });

  test("cannot be had of a device that there is not", () => {
    const result = runOn({}, ({ cuda }) => {
      cuda.initDriver();
      const { error } = cuda.retainContext(1);
      return [
        error,
        cuda.releaseContext(-1),
        cuda.contextState(1).error,
        cuda.driverDevice(1).error,
      ];
    });
    expect(result).toEqual([101, 101, 101, 101]);
    expect(runOn({ devices: "none" }, ({ cuda }) => cuda.initDriver())).toBe(100);
    expect(() => CudartSimulator.hasContext(99)).toThrow("the simulator has no device 99");
    expect(() => CudartSimulator.hasContext("0" as never)).toThrow(TypeError);
  });
});
