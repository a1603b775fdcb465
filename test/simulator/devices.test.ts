import { describe, expect, test } from "bun:test";
import { cuda as ownCuda } from "./cudart.ts";
import type { OtherThread } from "./other-thread.ts";
import { runOn, spawnOn, twoDevices } from "./process.ts";

const gibibyte = 2 ** 30;

describe("devices", () => {
  test("are by default one of compute capability 9.0 with 16 GiB", () => {
    const result = runOn({}, ({ cuda }) => ({
      count: cuda.deviceCount(),
      major: cuda.attribute(75, 0),
      minor: cuda.attribute(76, 0),
      total: cuda.memoryInfo().total,
      versions: [cuda.runtimeVersion(), cuda.driverVersion()],
    }));
    expect(result).toEqual({
      count: { error: 0, value: 1 },
      major: { error: 0, value: 9 },
      minor: { error: 0, value: 0 },
      total: 16 * gibibyte,
      versions: [
        { error: 0, value: 13_000 },
        { error: 0, value: 13_000 },
      ],
    });
  });

  test("are those of the environment", () => {
    const result = runOn({ devices: "8.6:1073741824,9.0:85899345920" }, ({ cuda }) => {
      const capabilities = [0, 1].map((device) => [
        cuda.attribute(75, device).value,
        cuda.attribute(76, device).value,
      ]);
      const totals = [0, 1].map((device) => {
        cuda.setDevice(device);
        return cuda.memoryInfo().total;
      });
      return { count: cuda.deviceCount().value, capabilities, totals };
    });
    expect(result).toEqual({
      count: 2,
      capabilities: [
        [8, 6],
        [9, 0],
      ],
      totals: [gibibyte, 80 * gibibyte],
    });
  });

  test("may be 512, which copies reach all", () => {
    const devices = Array.from({ length: 512 }, () => "8.0:1048576").join(",");
    const result = runOn({ devices }, ({ cuda, CudartSimulator: simulator }) => {
      const [first, last] = [0, 511].map((device) => {
        cuda.setDevice(device);
        const block = cuda.malloc(16).value;
        cuda.memset(block, device === 0 ? 3 : 4, 16);
        return block;
      });
      const peer = [cuda.canAccessPeer(511, 200).value, cuda.enablePeerAccess(0)];
      const copied = cuda.memcpy(last!, first!, 16, 4);
      return {
        count: cuda.deviceCount().value,
        peer,
        copied,
        bytes: cuda.bytesOf(last!, 1),
        device: cuda.pointerAttributes(last!).device,
        live: simulator.liveDeviceMemory(511),
      };
    });
    expect(result).toEqual({
      count: 512,
      peer: [1, 0],
      copied: 0,
      bytes: [3],
      device: 511,
      live: { blockCount: 1, byteSize: 16 },
    });
  });

  test("have their copies between them ordered, also above the 64th", () => {
    const devices = Array.from({ length: 80 }, () => "8.0:1048576").join(",");
    const result = runOn({ devices }, ({ cuda, CudartSimulator: simulator }) => {
      cuda.setDevice(79);
      const source = cuda.malloc(16).value;
      const stream = cuda.createPlainStream().value;
      cuda.setDevice(70);
      const target = cuda.malloc(16).value;
      simulator.setDelay({ operationNs: 50e6 });
      cuda.setDevice(79);
      cuda.memsetAsync(source, 7, 16, stream);
      cuda.setDevice(70);
      simulator.setDelay({});
      return [cuda.memcpy(target, source, 16, 4), ...cuda.bytesOf(target, 1)];
    });
    expect(result).toEqual([0, 7]);
  });

  test("have the attributes of a GPU with its own memory", () => {
    const result = runOn({}, ({ cuda }) =>
      [18, 19, 41, 115, 134].map((attribute) => cuda.attribute(attribute, 0)),
    );
    expect(result).toEqual([0, 1, 1, 1, 0].map((value) => ({ error: 0, value })));
  });

  test("refuse what they do not have", () => {
    const result = runOn({}, ({ cuda }) => ({
      attribute: cuda.attribute(9999, 0),
      device: cuda.attribute(75, 1),
      negative: cuda.attribute(75, -1),
      count: cuda.callWithZeros("cudaGetDeviceCount"),
      version: cuda.callWithZeros("cudaRuntimeGetVersion"),
      value: cuda.callWithZeros("cudaDeviceGetAttribute"),
      current: cuda.callWithZeros("cudaGetDevice"),
    }));
    expect(result).toEqual({
      attribute: { error: 1, value: -1 },
      device: { error: 101, value: -1 },
      negative: { error: 101, value: -1 },
      count: 1,
      version: 1,
      value: 1,
      current: 1,
    });
  });

  test("are all idle at first, and so are the default streams, which are the only ones", () => {
    const result = runOn({}, ({ cuda }) => ({
      device: cuda.synchronizeDevice(),
      streams: [null, 1, 2, 3].map((stream) => cuda.synchronizeStream(stream)),
    }));
    expect(result).toEqual({ device: 0, streams: [0, 0, 0, 400] });
  });

  test("can be none: then everything that needs one says so", () => {
    const result = runOn({ devices: "none" }, ({ cuda }) =>
      Object.fromEntries(cuda.countedFunctions.map((name) => [name, cuda.callWithZeros(name)])),
    );
    const worksAnywhere = {
      cudaRuntimeGetVersion: 1,
      cudaDriverGetVersion: 1,
      // Of the call before it, and then of the ones after that.
      cudaGetLastError: 1,
      cudaPeekAtLastError: 100,
    };
    const noDevice = Object.fromEntries(ownCuda.countedFunctions.map((name) => [name, 100]));
    expect(result).toEqual({ ...noDevice, ...worksAnywhere });
  });

  test.each([
    "9",
    "9.0",
    "9.0:",
    "9.0:0",
    "9:1024",
    "x.0:1024",
    "9.0:1024,",
    "9.0:1024 ",
    " 9.0:1024",
    "9.0:-1",
    "9.0:1e9",
    "9.0:99999999999999999999",
    "none,9.0:1024",
    "None",
    Array.from({ length: 513 }, () => "8.0:1024").join(","),
  ])("of a malformed environment: %p", (devices) => {
    const { stdout, stderr } = spawnOn({ devices }, ({ cuda }) => ({
      count: cuda.deviceCount(),
      others: cuda.countedFunctions.map((name) => cuda.callWithZeros(name)),
    }));
    const others = ownCuda.countedFunctions.map(() => 3);
    expect(JSON.parse(stdout)).toEqual({ count: { error: 3, value: -1 }, others });
    expect(stderr).toStartWith(
      `cudart_sim: CUDART_SIM_DEVICES="${devices}" is malformed: expected`,
    );
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
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

describe("threads", () => {
  test("select a device that exists, at first device 0", () => {
    const result = runOn({ devices: "8.0:1048576,8.0:1048576" }, ({ cuda }) => {
      const first = cuda.currentDevice().value;
      const errors = [1, 2, -1].map((device) => cuda.setDevice(device));
      return { first, errors, last: cuda.currentDevice().value };
    });
    expect(result).toEqual({ first: 0, errors: [0, 101, 101], last: 1 });
  });

  test("have their own current device and last error, and share the memory", () => {
    const result = runOn(
      { devices: "8.0:1048576,9.0:1048576" },
      async ({ cuda, CudartSimulator: simulator }) => {
        cuda.memset(null, 0, 1);
        const worker = new Worker(cuda.otherThreadPath);
        const seen = await new Promise<OtherThread>((resolve, reject) => {
          worker.addEventListener("message", (event) => resolve(event.data));
          worker.addEventListener("error", reject);
        });
        return {
          seen,
          deviceOfPointer: cuda.pointerAttributes(seen.pointer).device,
          deviceHere: cuda.currentDevice().value,
          errorHere: cuda.peekError(),
          live: simulator.liveDeviceMemory(1),
          freed: cuda.free(seen.pointer),
        };
      },
    );
    expect(result).toEqual({
      seen: {
        deviceAtStart: 0,
        errorAtStart: 0,
        pointer: expect.any(Number),
        deviceAtEnd: 1,
        errorAtEnd: 101,
      },
      deviceOfPointer: 1,
      deviceHere: 0,
      errorHere: 1,
      live: { blockCount: 1, byteSize: 1024 },
      freed: 0,
    });
  });

  test("keep the last error until it is asked for, whatever succeeds meanwhile", () => {
    const result = runOn({}, ({ cuda }) => {
      const failed = cuda.setDevice(7);
      const succeeded = cuda.setDevice(0);
      const peeked = [cuda.peekError(), cuda.peekError()];
      return { failed, succeeded, peeked, got: [cuda.lastError(), cuda.lastError()] };
    });
    expect(result).toEqual({ failed: 101, succeeded: 0, peeked: [101, 101], got: [101, 0] });
  });
});
