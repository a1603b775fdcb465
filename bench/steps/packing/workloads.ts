import {
  type AllocationEvents,
  AllocationEventsBuilder,
} from "../../../examples/replay/allocation-events.ts";
import { logUniformByteSize, randomNumbers } from "../../../harness/workloads/random.ts";
import { servingWorkload } from "../../../harness/workloads/serving.ts";

const kibibyte = 1024;
const mebibyte = 1024 ** 2;

/** Events that are made up, the same for the same seed. */
export interface SyntheticWorkload {
  name: string;
  events(seed: number): AllocationEvents;
}

/** Live blocks of which one drawn at random is replaced by another, until the end. */
function mixedEvents(seed: number, isQuick: boolean): AllocationEvents {
  const builder = new AllocationEventsBuilder();
  const random = randomNumbers(seed);
  const allocate = () => builder.allocate(logUniformByteSize(random, 512, 256 * kibibyte));
  const live = Array.from({ length: isQuick ? 500 : 20_000 }, allocate);
  const replacementCount = 2 * live.length;
  for (let i = 0; i < replacementCount; i++) {
    const place = Math.floor(random() * live.length);
    builder.free(live[place]!);
    live[place] = allocate();
  }
  return builder.build();
}

const bigLiveCount = 24;
const smallLiveCount = 200;
const bigShareOfReplacements = 0.3;

/**
 * A few tensors that are most of the bytes, among many that are next to nothing: each kind has as
 * many live blocks all the time, allocated in random order at first.
 */
function twoSizesEvents(seed: number, isQuick: boolean): AllocationEvents {
  const builder = new AllocationEventsBuilder();
  const random = randomNumbers(seed);
  const big = () => builder.allocate(logUniformByteSize(random, 2 * mebibyte, 64 * mebibyte));
  const small = () => builder.allocate(logUniformByteSize(random, 512, 64 * kibibyte));
  const bigs: number[] = [];
  const smalls: number[] = [];
  while (bigs.length < bigLiveCount || smalls.length < smallLiveCount) {
    const bigsMissing = bigLiveCount - bigs.length;
    const missing = bigsMissing + smallLiveCount - smalls.length;
    if (random() * missing < bigsMissing) bigs.push(big());
    else smalls.push(small());
  }
  const replacementCount = isQuick ? 400 : 6000;
  for (let i = 0; i < replacementCount; i++) {
    const [live, allocate] =
      random() < bigShareOfReplacements ? ([bigs, big] as const) : ([smalls, small] as const);
    const place = Math.floor(random() * live.length);
    builder.free(live[place]!);
    live[place] = allocate();
  }
  return builder.build();
}

export function syntheticWorkloads(isQuick: boolean): SyntheticWorkload[] {
  return [
    {
      name: "serving, 512 B-4 MiB",
      events: (seed) => servingWorkload({ seed, requestCount: isQuick ? 300 : 4000 }),
    },
    { name: "20,000 live, 512 B-256 KiB", events: (seed) => mixedEvents(seed, isQuick) },
    { name: "two sizes, 2-64 MiB, to 64 KiB", events: (seed) => twoSizesEvents(seed, isQuick) },
  ];
}
