// The simulated packers, compared with naive ones, and the logs that are packed.

import { describe, expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readLogs } from "../../bench/steps/packing/logs.ts";
import { simulationServes } from "../../bench/steps/packing/packers.ts";
import {
  type AllocationEvents,
  AllocationEventsBuilder,
} from "../../examples/replay/allocation-events.ts";
import { randomNumbers } from "../../harness/workloads/random.ts";

interface NaiveBlock {
  start: number;
  size: number;
  owner: number;
}

/** What is free, from the lowest: found anew each time, so that nothing can be wrong about it. */
function gapsBetween(live: readonly NaiveBlock[], capacity: number) {
  const gaps: { start: number; size: number }[] = [];
  let start = 0;
  for (const block of live.toSorted((a, b) => a.start - b.start)) {
    if (block.start > start) gaps.push({ start, size: block.start - start });
    start = block.start + block.size;
  }
  if (capacity > start) gaps.push({ start, size: capacity - start });
  return gaps;
}

/** Whether best fit, or first fit, serves all events in so many granules. */
function naiveServes({ events, byteSizes }: AllocationEvents, capacity: number, isBest: boolean) {
  let live: NaiveBlock[] = [];
  for (const event of events) {
    if (event < 0) {
      live = live.filter(({ owner }) => owner !== ~event);
      continue;
    }
    const size = Math.ceil(byteSizes[event]! / 512);
    const fitting = gapsBetween(live, capacity).filter((gap) => gap.size >= size);
    // Sorting is stable: the lowest of equals comes first.
    const gap = isBest ? fitting.toSorted((a, b) => a.size - b.size)[0] : fitting[0];
    if (gap === undefined) return false;
    live.push({ start: gap.start, size, owner: event });
  }
  return true;
}

function randomEvents(seed: number): AllocationEvents {
  const random = randomNumbers(seed);
  const builder = new AllocationEventsBuilder();
  const live: number[] = [];
  for (let i = 0; i < 150; i++) {
    if (random() < live.length / 24) {
      const [freed] = live.splice(Math.floor(random() * live.length), 1);
      builder.free(freed!);
    } else {
      live.push(builder.allocate(1 + Math.floor(512 * 40 ** random())));
    }
  }
  return builder.build();
}

describe("packing", () => {
  test("simulates best fit and first fit exactly", () => {
    let servedCount = 0;
    let checkedCount = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const events = randomEvents(seed);
      for (let capacity = 100; capacity < 320; capacity += 7) {
        const best = naiveServes(events, capacity, true);
        expect(simulationServes("bestFit", events)(capacity * 512)).toBe(best);
        const first = naiveServes(events, capacity, false);
        expect(simulationServes("firstFit", events)(capacity * 512)).toBe(first);
        servedCount += Number(best) + Number(first);
        checkedCount += 2;
      }
    }
    // Both answers were given often enough to mean something.
    expect(servedCount / checkedCount).toBeWithin(0.2, 0.8);
  });

  test("serves from two ends what fills the pool to the last granule", () => {
    const builder = new AllocationEventsBuilder();
    const small = builder.allocate(512);
    const large = builder.allocate(512 * 63);
    builder.free(small);
    builder.free(large);
    builder.allocate(512 * 64);
    expect(simulationServes("twoEnds", builder.build())(512 * 64)).toBe(true);
    expect(simulationServes("twoEnds", builder.build())(512 * 63)).toBe(false);
  });

  test("scales only the logs of small memories", async () => {
    const folder = join(tmpdir(), `bench-logs-${process.pid}`);
    const log = (byteSize: number) =>
      `Thread,Time,Action,Pointer,Size,Stream\n1,0,allocate,0x1,${byteSize},0\n`;
    await Bun.write(join(folder, "small.csv"), log(8 * 1024 ** 2 - 1));
    await Bun.write(join(folder, "large.csv.gz"), Bun.gzipSync(log(8 * 1024 ** 2)));
    await Bun.write(join(folder, "notes.txt"), "not a log");
    const logs = await readLogs(folder);
    expect(logs.map(({ name, scale, events }) => [name, scale, events.byteSizes[0]])).toEqual([
      ["large", 1, 8 * 1024 ** 2],
      ["small", 512, (8 * 1024 ** 2 - 1) * 512],
    ]);
    await expect(readLogs("/absent")).rejects.toThrow("/absent: cannot be read");
  });
});
