import { describe, expect, test } from "bun:test";
import type { AllocationEvents } from "../../examples/replay/allocation-events.ts";
import { servingWorkload } from "../../harness/workloads/serving.ts";

const workload = servingWorkload();

/** The allocations of each request: what is allocated in a row, cut where it is freed in a row. */
function freedTogether({ events }: AllocationEvents): number[][] {
  const groups: number[][] = [];
  for (const [place, event] of events.entries()) {
    if (event >= 0) continue;
    const previous = groups.at(-1);
    // A request's tensors follow each other, both when they come and when they go.
    const isSameRequest = events[place - 1] === event + 1 && previous !== undefined;
    if (isSameRequest) previous.push(~event);
    else groups.push([~event]);
  }
  return groups;
}

describe("the serving workload", () => {
  test("is the same for the same seed, and another for another", () => {
    expect(servingWorkload({ seed: 1 })).toEqual(workload);
    expect(servingWorkload({ seed: 2 }).byteSizes).not.toEqual(workload.byteSizes);
    // Of this version of the generator, on whatever machine.
    const hash = Bun.hash.crc32(new Uint8Array(workload.events.buffer));
    expect(hash).toBe(3872476939);
  });

  test("frees each allocation once, after it was made", () => {
    const { events, byteSizes } = workload;
    const isLive = new Uint8Array(byteSizes.length);
    let nextIndex = 0;
    for (const event of events) {
      if (event >= 0) {
        expect(event).toBe(nextIndex++);
        isLive[event] = 1;
      } else {
        expect(isLive[~event]).toBe(1);
        isLive[~event] = 0;
      }
    }
    expect(nextIndex).toBe(byteSizes.length);
    expect(isLive.every((live) => live === 0)).toBe(true);
  });

  test("has 4,000 requests of 2 to 6 tensors", () => {
    const { byteSizes } = workload;
    // 4,000 uniform draws from 2 to 6: 16,000 on average, with a standard deviation of 89.
    expect(Math.abs(byteSizes.length - 16_000)).toBeLessThan(400);
    const counts = freedTogether(workload).map(({ length }) => length);
    // Requests that came one after the other may also go so; the others are seen one by one.
    const histogram = Map.groupBy(counts, (count) => count);
    for (const count of [2, 3, 4, 5, 6]) {
      expect(histogram.get(count)!.length).toBeGreaterThan(700);
    }
    expect(histogram.has(1)).toBe(false);
  });

  test("has sizes that are log-uniform from 512 B to 4 MiB", () => {
    const sizes = [...workload.byteSizes];
    expect(Math.min(...sizes)).toBeGreaterThanOrEqual(512);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4 * 1024 ** 2);
    expect(sizes.every(Number.isInteger)).toBe(true);
    // 13 doublings, each as likely as the others.
    const perDoubling = Array.from({ length: 13 }, () => 0);
    for (const size of sizes) perDoubling[Math.min(12, Math.floor(Math.log2(size / 512)))]!++;
    const expected = sizes.length / 13;
    for (const count of perDoubling) expect(Math.abs(count / expected - 1)).toBeLessThan(0.15);
  });

  test("has 64 to 512 requests in flight once it is warm", () => {
    const requests = freedTogether(workload);
    // Two requests that came one after the other and went so look like one here.
    const unseenCount = 4000 - requests.length;
    expect(unseenCount).toBeLessThan(50);
    const beginsWith = new Set(requests.map((allocations) => Math.min(...allocations)));
    const endsWith = new Set(requests.map((allocations) => allocations[0]!));
    const inFlight: number[] = [];
    let liveCount = 0;
    for (const event of workload.events) {
      if (beginsWith.has(event)) liveCount++;
      if (endsWith.has(~event)) liveCount--;
      inFlight.push(liveCount);
      if (event === workload.byteSizes.length - 1) break; // from here on they only end
    }
    const warm = inFlight.slice(inFlight.indexOf(64));
    expect(Math.min(...warm)).toBeGreaterThanOrEqual(64 - unseenCount);
    expect(Math.max(...warm)).toBeLessThanOrEqual(512);
    // It does vary.
    expect(Math.min(...warm)).toBeLessThan(100);
    expect(Math.max(...warm)).toBeGreaterThan(400);
  });

  test("has lifetimes that vary", () => {
    const { events, byteSizes } = workload;
    const bornAt = new Float64Array(byteSizes.length);
    const lifetimes: number[] = [];
    for (const [place, event] of events.entries()) {
      if (event >= 0) bornAt[event] = place;
      else lifetimes.push(place - bornAt[~event]!);
    }
    lifetimes.sort((a, b) => a - b);
    const quantile = (share: number) => lifetimes[Math.floor(lifetimes.length * share)]!;
    expect(quantile(0.9)).toBeGreaterThan(10 * quantile(0.1));
  });

  test("takes a number of requests", () => {
    const { byteSizes } = servingWorkload({ requestCount: 10 });
    expect(byteSizes.length).toBeGreaterThanOrEqual(20);
    expect(byteSizes.length).toBeLessThanOrEqual(60);
    expect(servingWorkload({ requestCount: 0 }).events).toHaveLength(0);
  });
});
