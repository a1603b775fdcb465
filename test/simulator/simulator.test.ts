import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { isAbsolute } from "node:path";
import { CudartSimulator, simulatorLibraryPath } from "../../src/simulator.ts";
import { cuda as ownCuda } from "./cudart.ts";
import type { OtherThread } from "./other-thread.ts";
import { runOn, spawnOn } from "./process.ts";

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;
const tebibyte = 2 ** 40;

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

  test("may be 64", () => {
    const devices = Array.from({ length: 64 }, () => "8.0:1073741824").join(",");
    const result = runOn({ devices }, ({ cuda }) => {
      cuda.setDevice(63);
      return { count: cuda.deviceCount().value, last: cuda.malloc(1024).error };
    });
    expect(result).toEqual({ count: 64, last: 0 });
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
    Array.from({ length: 65 }, () => "8.0:1024").join(","),
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

describe("errors", () => {
  test("have CUDA's names and texts", () => {
    const errors = [0, 1, 2, 3, 35, 100, 101, 400, 600, 704, 712, 801, 999];
    expect(errors.map((error) => ownCuda.errorName(error))).toEqual([
      "cudaSuccess",
      "cudaErrorInvalidValue",
      "cudaErrorMemoryAllocation",
      "cudaErrorInitializationError",
      "cudaErrorInsufficientDriver",
      "cudaErrorNoDevice",
      "cudaErrorInvalidDevice",
      "cudaErrorInvalidResourceHandle",
      "cudaErrorNotReady",
      "cudaErrorPeerAccessAlreadyEnabled",
      "cudaErrorHostMemoryAlreadyRegistered",
      "cudaErrorNotSupported",
      "cudaErrorUnknown",
    ]);
    expect(ownCuda.errorText(2)).toBe("out of memory");
  });

  test.each([-1, 5000, 2 ** 31 - 1])("of an unknown number, %d, are unrecognized", (error) => {
    expect(ownCuda.errorName(error)).toBe("unrecognized error code");
    expect(ownCuda.errorText(error)).toBe("unrecognized error code");
  });
});

describe("device memory", () => {
  test("cannot be touched by the host", () => {
    const { signal, stdout } = spawnOn({}, ({ cuda }) => {
      const { value } = cuda.malloc(1024);
      cuda.memset(value, 1, 1024);
      return cuda.dereference(value);
    });
    expect({ signal, stdout }).toEqual({ signal: "SIGSEGV", stdout: "" });
  });

  test.each([80 * gibibyte, 2 * tebibyte])("of %d bytes costs what is touched", (size) => {
    const result = runOn({ devices: `9.0:${size}` }, async ({ cuda }) => {
      const residentBytes = async (kind: string): Promise<number> => {
        const status = await Bun.file("/proc/self/status").text();
        return 1024 * Number(new RegExp(`${kind}:\\s+(\\d+) kB`).exec(status)?.[1]);
      };
      const before = await residentBytes("VmRSS");
      const { total } = cuda.memoryInfo();
      const block = cuda.malloc(total);
      const written = cuda.memset(block.value, 7, 2 ** 20);
      const writtenAtEnd = cuda.memset(block.value + total - 2 ** 20, 8, 2 ** 20);
      const cost = (await residentBytes("VmRSS")) - before;
      const lastByte = cuda.bytesOf(block.value + total - 1, 1);
      const shared = await residentBytes("RssShmem");
      cuda.free(block.value);
      const sharedAtEnd = await residentBytes("RssShmem");
      return { errors: [block.error, written, writtenAtEnd], cost, lastByte, shared, sharedAtEnd };
    });
    expect(result.errors).toEqual([0, 0, 0]);
    expect(result.lastByte).toEqual([8]);
    expect(result.cost).toBeLessThan(50 * mebibyte);
    expect(result.shared).toBeGreaterThanOrEqual(2 * mebibyte);
    // Freed memory goes back to the system.
    expect(result.sharedAtEnd).toBeLessThan(mebibyte);
  });

  test("goes back to the system when the last of a page's blocks is freed", () => {
    const result = runOn({}, async ({ cuda }) => {
      const pointers = Array.from({ length: 1000 }, () => cuda.malloc(300).value);
      const used = pointers.map((pointer) => cuda.memset(pointer, 1, 300));
      for (const step of [2, 3, 1]) {
        for (let index = 0; index < pointers.length; index += step) {
          cuda.free(Number(pointers[index]));
          pointers[index] = 0;
        }
      }
      const status = await Bun.file("/proc/self/status").text();
      return { used: used.every((error) => error === 0), status };
    });
    expect(result.used).toBeTrue();
    expect(result.status).toMatch(/RssShmem:\s+0 kB/);
  });

  test("is exhausted exactly at the device's size", () => {
    const result = runOn({ devices: "8.0:16777216" }, ({ cuda }) => {
      const tooLarge = cuda.malloc(2 ** 24 + 1);
      const absurd = cuda.malloc(2n ** 64n - 1n);
      const whole = cuda.malloc(2 ** 24);
      const another = cuda.malloc(1);
      const full = cuda.memoryInfo();
      cuda.free(whole.value);
      const pieces = Array.from({ length: 17 }, () => cuda.malloc(2 ** 20));
      cuda.free(Number(pieces[3]?.value));
      cuda.free(Number(pieces[5]?.value));
      const fragmented = cuda.malloc(2 ** 21);
      cuda.free(Number(pieces[4]?.value));
      const joined = cuda.malloc(3 * 2 ** 20);
      return {
        errors: [tooLarge, absurd, whole, another, fragmented, joined].map(({ error }) => error),
        full,
        pieces: pieces.map(({ error }) => error),
      };
    });
    expect(result).toEqual({
      errors: [2, 2, 0, 2, 2, 0],
      full: { error: 0, free: 0, total: 16 * mebibyte },
      pieces: [...Array.from({ length: 16 }, () => 0), 2],
    });
  });

  test("of a size that is no multiple of anything holds a block of that size", () => {
    const result = runOn({ devices: "8.0:1000001" }, ({ cuda }) => {
      const block = cuda.malloc(1_000_001);
      const written = cuda.memset(block.value, 3, 1_000_001);
      return [block.error, written, cuda.free(block.value), cuda.malloc(1_000_002).error];
    });
    expect(result).toEqual([0, 0, 0, 2]);
  });

  test("is aligned to 256 bytes: small blocks to no more, large ones to more", () => {
    const result = runOn({}, ({ cuda }) => {
      const remainders = (sizes: number[]): number[] =>
        sizes.map((size) => cuda.malloc(size).value % 512);
      return {
        small: remainders([1, 100, 256, 257, 4096, 65_536, 2 ** 20 - 1, 300]),
        large: remainders([2 ** 20, 2 ** 20 + 1, 2 ** 26, 3_000_001]),
      };
    });
    expect(result).toEqual({ small: Array(8).fill(256), large: Array(4).fill(0) });
  });

  test("places small blocks at every multiple of 256 when no other room is left", () => {
    const result = runOn({ devices: "8.0:65536" }, ({ cuda }) => {
      const blocks = Array.from({ length: 257 }, () => cuda.malloc(256));
      return {
        failures: blocks.filter(({ error }) => error !== 0).length,
        lastError: blocks[256]?.error,
        addresses: new Set(blocks.slice(0, 256).map(({ value }) => value)).size,
        alignment: blocks.slice(0, 256).every(({ value }) => value % 256 === 0),
      };
    });
    expect(result).toEqual({ failures: 1, lastError: 2, addresses: 256, alignment: true });
  });

  test("of zero bytes is a null pointer", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => ({
      block: cuda.malloc(0),
      live: simulator.liveDeviceMemory(0),
      freed: cuda.free(null),
      nowhere: cuda.callWithZeros("cudaMalloc"),
    }));
    expect(result).toEqual({
      block: { error: 0, value: 0 },
      live: { blockCount: 0, byteSize: 0 },
      freed: 0,
      nowhere: 1,
    });
  });

  test("is freed only by the start of a live block", () => {
    const result = runOn({}, ({ cuda }) => {
      const { value } = cuda.malloc(4096);
      const pinned = cuda.hostAlloc(4096).value;
      const inside = cuda.free(value + 256);
      const unallocated = cuda.free(value + 65_536);
      const wrongKind = cuda.free(pinned);
      const unknown = cuda.free(4096);
      return [inside, unallocated, wrongKind, unknown, cuda.free(value), cuda.free(value)];
    });
    expect(result).toEqual([1, 1, 1, 1, 0, 1]);
  });

  test("is that of the current device, and freed whatever the current device is", () => {
    const result = runOn(
      { devices: "8.0:1048576,8.0:1048576" },
      ({ cuda, CudartSimulator: simulator }) => {
        const live = (): number[] => [0, 1].map((id) => simulator.liveDeviceMemory(id).byteSize);
        cuda.setDevice(1);
        const { value } = cuda.malloc(2 ** 20);
        const allocated = live();
        cuda.setDevice(0);
        return { allocated, freed: cuda.free(value), live: live() };
      },
    );
    expect(result).toEqual({ allocated: [0, mebibyte], freed: 0, live: [0, 0] });
  });

  test("survives thousands of blocks in any order", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const blocks = Array.from({ length: 5000 }, (_, index) => {
        const size = 1 + ((index * 7919) % 5000);
        const { value } = cuda.malloc(size);
        cuda.memset(value, index % 251, size);
        return { value, size, byte: index % 251 };
      });
      const { blockCount } = simulator.liveDeviceMemory(0);
      const areIntact = (kept: typeof blocks): boolean =>
        kept.every(({ value, size, byte }) =>
          cuda.bytesOf(value, size).every((found) => found === byte),
        );
      const intact = areIntact(blocks);
      // 1811 is prime to 5000: every block once, in no order.
      const shuffled = blocks.map((block, index) => blocks[(index * 1811) % 5000] ?? block);
      const errors = shuffled.slice(0, 2500).map(({ value }) => cuda.free(value));
      const restIntact = areIntact(shuffled.slice(2500));
      errors.push(...shuffled.slice(2500).map(({ value }) => cuda.free(value)));
      const freed = errors.every((error) => error === 0);
      return { blockCount, intact, restIntact, freed, live: simulator.liveDeviceMemory(0) };
    });
    expect(result).toEqual({
      blockCount: 5000,
      intact: true,
      restIntact: true,
      freed: true,
      live: { blockCount: 0, byteSize: 0 },
    });
  });
});

describe("pinned memory", () => {
  test("is page-aligned memory of the host", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      const { error, value } = cuda.hostAlloc(10_000, 1);
      cuda.memset(value, 42, 10_000);
      const { blockCount, byteSize } = simulator.liveHostMemory();
      return {
        error,
        misalignment: value % 4096,
        byte: cuda.dereference(value + 9999),
        live: [blockCount, byteSize],
        freed: [cuda.freeHost(value + 4096), cuda.freeHost(value), cuda.freeHost(value)],
        liveAtEnd: simulator.liveHostMemory().blockCount,
      };
    });
    expect(result).toEqual({
      error: 0,
      misalignment: 0,
      byte: 42,
      live: [1, 10_000],
      freed: [1, 0, 1],
      liveAtEnd: 0,
    });
  });

  test("takes the flags that CUDA has", () => {
    const result = runOn({}, ({ cuda }) =>
      [0, 1, 2, 4, 7, 8, 15, 2 ** 31].map((flags) => cuda.hostAlloc(4096, flags).error),
    );
    expect(result).toEqual([0, 0, 0, 0, 0, 1, 1, 1]);
  });

  test("of zero bytes is a null pointer, and freeing that is nothing", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => ({
      block: cuda.hostAlloc(0),
      freed: cuda.freeHost(null),
      live: simulator.liveHostMemory(),
      nowhere: cuda.callWithZeros("cudaHostAlloc"),
    }));
    expect(result).toEqual({
      block: { error: 0, value: 0 },
      freed: 0,
      live: { blockCount: 0, byteSize: 0 },
      nowhere: 1,
    });
  });

  test("is limited by the machine's memory", () => {
    const result = runOn({}, async ({ cuda }) => {
      const meminfo = await Bun.file("/proc/meminfo").text();
      const machine = 1024 * Number(/MemTotal:\s+(\d+)/.exec(meminfo)?.[1]);
      const huge = [cuda.hostAlloc(machine + 1).error, cuda.hostAlloc(2n ** 64n - 1n).error];
      const blocks: number[] = [];
      let error = 0;
      while (error === 0 && blocks.length < 1_000_000) {
        const block = cuda.hostAlloc(2 ** 30);
        error = block.error;
        blocks.push(block.value);
      }
      const pinned = (blocks.length - 1) * 2 ** 30;
      cuda.freeHost(Number(blocks[0]));
      return { machine, huge, error, pinned, afterFree: cuda.hostAlloc(2 ** 30).error };
    });
    expect(result).toMatchObject({ huge: [2, 2], error: 2, afterFree: 0 });
    expect(result.pinned).toBeLessThanOrEqual(result.machine);
    expect(result.pinned).toBeGreaterThan(result.machine - gibibyte);
  });

  test("is not freed by the start of a device's block", () => {
    expect(runOn({}, ({ cuda }) => cuda.freeHost(cuda.malloc(4096).value))).toBe(1);
  });
});

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

describe("cudaPointerGetAttributes", () => {
  test("knows device, pinned and other memory", () => {
    const result = runOn({ devices: "8.0:1048576,8.0:1048576" }, ({ cuda }) => {
      cuda.setDevice(1);
      const device = cuda.malloc(4096).value;
      const pinned = cuda.hostAlloc(4096).value;
      cuda.setDevice(0);
      const relative = (pointer: number, base: number) => {
        const { error, type, device: id, ...pointers } = cuda.pointerAttributes(pointer);
        return [error, type, id, pointers.devicePointer - base, pointers.hostPointer - base];
      };
      return {
        device: cuda.pointerAttributes(device).hostPointer,
        inDevice: relative(device + 4095, device).slice(0, 4),
        behindDevice: relative(device + 4096, device).slice(0, 3),
        inPinned: relative(pinned + 4095, pinned),
        other: cuda.pointerAttributes(4096),
        nothing: cuda.pointerAttributes(null),
        nowhere: cuda.callWithZeros("cudaPointerGetAttributes"),
        freed: [
          cuda.free(device),
          cuda.freeHost(pinned),
          cuda.pointerAttributes(device).type,
          cuda.pointerAttributes(pinned).type,
        ],
      };
    });
    expect(result).toEqual({
      device: 0,
      inDevice: [0, 2, 1, 4095],
      behindDevice: [0, 0, -2],
      inPinned: [0, 1, 1, 4095, 4095],
      other: { error: 0, type: 0, device: -2, devicePointer: 0, hostPointer: 4096 },
      nothing: { error: 0, type: 0, device: -2, devicePointer: 0, hostPointer: 0 },
      nowhere: 1,
      freed: [0, 0, 0, 0],
    });
  });
});

describe("injected faults", () => {
  test("come from the environment, by number and by name", () => {
    const faults = "cudaMalloc:2:2,cudaSetDevice:1:101,cudaMalloc:3:cudaErrorUnknown";
    const result = runOn({ faults }, ({ cuda, CudartSimulator: simulator }) => ({
      set: [cuda.setDevice(0), cuda.setDevice(0)],
      allocations: Array.from({ length: 4 }, () => cuda.malloc(256).error),
      live: simulator.liveDeviceMemory(0).blockCount,
      lastError: cuda.lastError(),
    }));
    expect(result).toEqual({ set: [101, 0], allocations: [0, 2, 999, 0], live: 2, lastError: 999 });
  });

  test.each([
    "cudaMalloc",
    "cudaMalloc:1",
    "cudaMalloc:1:",
    "cudaMalloc:0:2",
    "cudaMalloc:1:0",
    "cudaMalloc:1:cudaSuccess",
    "cudaMalloc:1:5000",
    "cudaMalloc:1:cudaErrorNoSuch",
    "cudaMalloc:first:2",
    "cudaMalloc:1:2,",
    "cudaMalloc:1:2:",
    "cudaNoSuch:1:2",
    "cudaGetErrorName:1:2",
    ":1:2",
    `${"x".repeat(100)}:1:2`,
  ])("of a malformed environment: %p", (faults) => {
    const { stdout, stderr } = spawnOn({ faults }, ({ cuda }) => cuda.malloc(256).error);
    expect(JSON.parse(stdout)).toBe(3);
    expect(stderr).toStartWith(`cudart_sim: CUDART_SIM_FAULTS="${faults}" is malformed: expected`);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("hit every function that returns an error, once, and become the last error", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) =>
      cuda.countedFunctions.map((name) => {
        cuda.lastError();
        simulator.failCall({ function: name, error: 719 });
        const failed = cuda.callWithZeros(name);
        const lastError = cuda.peekError();
        return [name, failed, lastError, cuda.callWithZeros(name) !== 719];
      }),
    );
    const reportLastError = ["cudaGetLastError", "cudaPeekAtLastError"];
    expect(result.length).toBeGreaterThan(15);
    expect(result).toEqual(
      ownCuda.countedFunctions.map((name) => [
        name,
        719,
        reportLastError.includes(name) ? 0 : 719,
        true,
      ]),
    );
  });

  test("leave the call without effect", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      simulator.failCall({ function: "cudaMalloc", error: 2 });
      const malloc = cuda.malloc(256);
      const { value } = cuda.malloc(256);
      simulator.failCall({ function: "cudaFree", error: 4 });
      simulator.failCall({ function: "cudaMemset", error: 700 });
      cuda.memset(value, 1, 256);
      const filledAgain = cuda.memset(value, 0x55, 128);
      return {
        malloc,
        filledAgain,
        bytes: [...new Set(cuda.bytesOf(value, 256).slice(0, 128))],
        freed: [cuda.free(value), simulator.liveDeviceMemory(0).blockCount, cuda.free(value)],
      };
    });
    expect(result).toEqual({
      malloc: { error: 2, value: -1 },
      filledAgain: 0,
      bytes: [0x55],
      freed: [4, 1, 0],
    });
  });

  test("count from now, each function by itself", () => {
    const result = runOn({}, ({ cuda, CudartSimulator: simulator }) => {
      cuda.malloc(256);
      cuda.malloc(256);
      simulator.failCall({ function: "cudaMalloc", nth: 3, error: "cudaErrorMemoryAllocation" });
      simulator.failCall({ function: "cudaMalloc", nth: 1, error: 46 });
      cuda.hostAlloc(256);
      return Array.from({ length: 4 }, () => cuda.malloc(256).error);
    });
    expect(result).toEqual([46, 0, 2, 0]);
  });

  test("are replaced by a second one for the same call, and cleared together", () => {
    const result = runOn({ faults: "cudaMalloc:3:2" }, ({ cuda, CudartSimulator: simulator }) => {
      simulator.failCall({ function: "cudaMalloc", error: 2 });
      simulator.failCall({ function: "cudaMalloc", error: 999 });
      const replaced = cuda.malloc(256).error;
      simulator.failCall({ function: "cudaMalloc", error: 2 });
      simulator.clearFaults();
      return { replaced, cleared: [cuda.malloc(256).error, cuda.malloc(256).error] };
    });
    expect(result).toEqual({ replaced: 999, cleared: [0, 0] });
  });

  test("come before the lack of a device", () => {
    const machine = { devices: "none", faults: "cudaGetDeviceCount:1:35" };
    const result = runOn(machine, ({ cuda }) => [
      cuda.deviceCount().error,
      cuda.deviceCount().error,
    ]);
    expect(result).toEqual([35, 100]);
  });
});

describe("CudartSimulator", () => {
  test("is in a library at an absolute path", () => {
    expect(isAbsolute(simulatorLibraryPath)).toBeTrue();
    expect(existsSync(simulatorLibraryPath)).toBeTrue();
  });

  test("counts calls, failed ones included", () => {
    const before = CudartSimulator.callCount("cudaGetDevice");
    ownCuda.currentDevice();
    ownCuda.callWithZeros("cudaGetDevice");
    expect(CudartSimulator.callCount("cudaGetDevice")).toBe(before + 2);
  });

  test("knows every function that it is typed for", () => {
    for (const name of ownCuda.countedFunctions) {
      expect(CudartSimulator.callCount(name)).toBeGreaterThanOrEqual(0);
    }
  });

  test.each([
    ["a function it does not have", { function: "cudaNoSuch" }, RangeError, "no function cudaNoSu"],
    ["a function without errors", { function: "cudaGetErrorName" }, RangeError, "no function cuda"],
    ["a function that is no string", { function: 7 }, TypeError, "name must be a string"],
    ["a missing function", { function: undefined }, TypeError, "name must be a string"],
    ["a missing error", { error: undefined }, TypeError, "error must be a number"],
    ["success as an error", { error: 0 }, RangeError, "error must be an integer from 1"],
    ["a fractional error", { error: 1.5 }, RangeError, "error must be an integer from 1"],
    ["an unknown error", { error: 5000 }, RangeError, "no error 5000"],
    ["success by name", { error: "cudaSuccess" }, RangeError, "no error cudaSuccess"],
    ["an unknown error's name", { error: "cudaErrorNo" }, RangeError, "no error cudaErrorNo"],
    ["a call before the next", { nth: 0 }, RangeError, "nth must be an integer from 1"],
    ["a call that is no number", { nth: Number.NaN }, RangeError, "nth must be an integer from 1"],
    ["a call that is a bigint", { nth: 1n }, TypeError, "nth must be a number"],
  ])("refuses %s, and nothing fails then", (_, wrong, errorType, message) => {
    const failure = { function: "cudaMalloc", error: 2, ...wrong } as never;
    expect(() => CudartSimulator.failCall(failure)).toThrow(errorType);
    expect(() => CudartSimulator.failCall(failure)).toThrow(message);
    const block = ownCuda.malloc(256);
    expect(block.error).toBe(0);
    expect(ownCuda.free(block.value)).toBe(0);
  });

  test("refuses to count and to measure what is not there", () => {
    expect(() => CudartSimulator.callCount("cudaNoSuch" as never)).toThrow(RangeError);
    expect(() => CudartSimulator.callCount(undefined as never)).toThrow(TypeError);
    expect(() => CudartSimulator.liveDeviceMemory(64)).toThrow("the simulator has no device 64");
    expect(() => CudartSimulator.liveDeviceMemory(-1)).toThrow(RangeError);
    expect(() => CudartSimulator.liveDeviceMemory(0.5)).toThrow(RangeError);
    expect(() => CudartSimulator.liveDeviceMemory("0" as never)).toThrow(TypeError);
  });

  test("says when the environment is malformed", () => {
    const messages = runOn({ devices: "?" }, ({ CudartSimulator: simulator }) => {
      const attempts = [
        () => simulator.failCall({ function: "cudaMalloc", error: 2 }),
        () => simulator.failOperation({ error: 2 }),
        () => simulator.clearFaults(),
        () => simulator.callCount("cudaMalloc"),
        () => simulator.liveDeviceMemory(0),
        () => simulator.liveHostMemory(),
        () => simulator.liveHandles(),
        () => simulator.setDelay({}),
        () => simulator.delay(),
      ];
      return attempts.map((attempt) => {
        try {
          return String(attempt());
        } catch (error) {
          return String(error);
        }
      });
    });
    expect(messages).toHaveLength(9);
    for (const message of messages) {
      expect(message).toContain("one of its CUDART_SIM_ variables is malformed");
    }
  });

  test("has no device where there is none, but host memory", () => {
    const result = runOn({ devices: "none" }, ({ CudartSimulator: simulator }) => {
      let message = "";
      try {
        simulator.liveDeviceMemory(0);
      } catch (error) {
        message = String(error);
      }
      return { message, host: simulator.liveHostMemory() };
    });
    expect(result).toEqual({
      message: "RangeError: the simulator has no device 0",
      host: { blockCount: 0, byteSize: 0 },
    });
  });
});
