import { describe, expect, test } from "bun:test";
import { runOn, spawnOn } from "./process.ts";

const mebibyte = 2 ** 20;
const gibibyte = 2 ** 30;
const tebibyte = 2 ** 40;

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
