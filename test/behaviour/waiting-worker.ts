// A Worker whose requests wait, one after another or many at once, and which counts in an order that
// all Workers share.

import { AllocatedMemory } from "../../src/index.ts";

declare var self: Worker;

export interface WaitingTask {
  gpu: number;
  byteSize: number;
  /** The next places in the order of asking and of being served. */
  counters: SharedArrayBuffer;
  requestCount: number;
}

/** For each request its place in the order of asking, and in that of being served. */
export type WaitingResult = [asked: number, served: number][];

async function wait({
  gpu,
  byteSize,
  counters,
  requestCount,
}: WaitingTask): Promise<WaitingResult> {
  const next = new Int32Array(counters);
  const lock = 2;
  const results: WaitingResult = [];
  const requests = Array.from({ length: requestCount }, async () => {
    // Nobody else asks between these two.
    while (Atomics.compareExchange(next, lock, 0, 1) !== 0);
    const asked = Atomics.add(next, 0, 1);
    const request = AllocatedMemory.allocate(byteSize, "GPU", gpu);
    Atomics.store(next, lock, 0);
    using memory = await request;
    results.push([asked, Atomics.add(next, 1, 1)]);
    if (memory.memoryType !== "GPU") throw new Error("it fell back");
  });
  await Promise.all(requests);
  return results;
}

self.onmessage = async ({ data }: MessageEvent<WaitingTask>) => postMessage(await wait(data));
