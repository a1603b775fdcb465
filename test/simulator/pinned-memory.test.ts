import { describe, expect, test } from "bun:test";
import { runOn } from "./process.ts";

const gibibyte = 2 ** 30;

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
