import { describe, expect, test } from "bun:test";
import { createMemoryManagers, CudaMemoryManager, PinnedMemoryManager } from "../../src/index.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import {
  type AllocationEvents,
  AllocationEventsBuilder,
  peakLiveByteSize,
} from "../../examples/replay/allocation-events.ts";
import { findFittingPoolByteSize, replay } from "../../examples/replay/replay.ts";
import { servingWorkload } from "../../harness/workloads/serving.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { isSimulated, logged, resetAfterEach } from "../support/runtime.ts";

resetAfterEach();

const KiB = 1024;
const MiB = 1024 ** 2;

/** Events in a shorthand: a size allocates, `-n` frees the n-th allocation, counted from 1. */
function eventsOf(...steps: number[]): AllocationEvents {
  const builder = new AllocationEventsBuilder();
  for (const step of steps) {
    if (step > 0) builder.allocate(step);
    else builder.free(-step - 1);
  }
  return builder.build();
}

function expectNothingLeft(): void {
  expectMemoryError("UNAVAILABLE", () => CudaMemoryManager.stats(0));
  expectMemoryError("UNAVAILABLE", () => PinnedMemoryManager.stats());
  if (!isSimulated) return;
  expect(CudartSimulator.liveDeviceMemory(0)).toEqual({ blockCount: 0, byteSize: 0 });
  expect(CudartSimulator.liveHostMemory()).toEqual({ blockCount: 0, byteSize: 0 });
}

describe("the peak of live bytes", () => {
  test("counts whole granules of what is alive at once", () => {
    expect(peakLiveByteSize(eventsOf())).toBe(0);
    expect(peakLiveByteSize(eventsOf(1, 513))).toBe(512 + 1024);
    expect(peakLiveByteSize(eventsOf(5000, -1, 4000, 500, -2, 700))).toBe(5120);
    expect(peakLiveByteSize(eventsOf(3 * 2 ** 32, 1))).toBe(3 * 2 ** 32 + 512);
  });
});

describe("a replay", () => {
  test("counts which memory each allocation got", () => {
    const events = eventsOf(
      32 * KiB, // the CUDA pool has 64 KiB
      32 * KiB - 1,
      1000, // no room: pinned
      300 * MiB, // more than the pinned pool has
      -1,
      20 * KiB, // room again
      13 * KiB, // not enough: pinned
      2 ** 52, // more than anything has
      -8,
      -2,
      -3,
      64, // the CUDA pool again
    );
    expect(replay(events, 64 * KiB)).toEqual({
      requestCount: 8,
      byType: { GPU: 4, CPU_PINNED: 2, CPU: 1, none: 1 },
      peakLiveByteSize: 2 ** 52 + 300 * MiB + (32 + 1 + 20 + 13) * KiB,
    });
    expect(logged.error).toHaveLength(1);
    expectNothingLeft();
  });

  test("without a CUDA pool falls back with everything", () => {
    expect(replay(eventsOf(1000, 2000), 0).byType).toEqual({
      GPU: 0,
      CPU_PINNED: 2,
      CPU: 0,
      none: 0,
    });
    expectNothingLeft();
  });

  test("does not touch memory managers that are there already", () => {
    using _managers = createMemoryManagers({ cudaMemoryPoolByteSize: { 0: MiB } });
    expect(() => replay(eventsOf(1000), MiB)).toThrow("managers of its own");
    expect(() => findFittingPoolByteSize(eventsOf(1000))).toThrow("managers of its own");
    expect(CudaMemoryManager.stats(0).capacityByteSize).toBe(MiB);
  });
});

describe("the pool that fits", () => {
  test("is the peak where nothing is lost to gaps", () => {
    const events = eventsOf(1000, 3 * MiB, 512, -2, 2 * MiB);
    expect(findFittingPoolByteSize(events)).toEqual({ fits: true, byteSize: 1536 + 3 * MiB });
    expectNothingLeft();
  });

  test("is as small as a pool can be for no events at all", () => {
    expect(findFittingPoolByteSize(eventsOf())).toEqual({ fits: true, byteSize: 512 });
  });

  test("serves everything, which no smaller one of those that are tried does", () => {
    const events = servingWorkload({ requestCount: 1000 });
    const peakByteSize = peakLiveByteSize(events);
    const fitting = findFittingPoolByteSize(events);
    if (!fitting.fits) throw new Error(fitting.reason);
    expect(fitting.byteSize).toBeLessThan(peakByteSize * 1.1);
    const servedCount = (byteSize: number) => replay(events, byteSize).byType.GPU;
    const requestCount = events.byteSizes.length;
    let byteSize = peakByteSize;
    while (byteSize < fitting.byteSize) {
      expect(servedCount(byteSize)).toBeLessThan(requestCount);
      byteSize = Math.ceil((byteSize * 1.005) / 512) * 512;
    }
    expect(byteSize).toBe(fitting.byteSize);
    expect(servedCount(byteSize)).toBe(requestCount);
    expectNothingLeft();
  });

  test.skipIf(!isSimulated)("does not exist where the GPU has too little memory", () => {
    // The first of the simulator's GPUs has 1 GiB.
    const fitting = findFittingPoolByteSize(eventsOf(2 * 1024 * MiB));
    expect(fitting).toEqual({ fits: false, reason: expect.stringContaining("2147483648 bytes") });
    expectNothingLeft();
  });
});
