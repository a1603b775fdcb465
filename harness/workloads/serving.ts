import {
  type AllocationEvents,
  AllocationEventsBuilder,
} from "../../examples/replay/allocation-events.ts";
import { logUniformByteSize, randomNumbers } from "./random.ts";

// The default workload of the demo: a server that runs inference.
//
// - A request has 2 to 6 tensors (uniform). They are allocated one after the other when it arrives
//   and freed, in the same order, when it is done.
// - A tensor's size is log-uniform between 512 B and 4 MiB: as many between 512 B and 1 KiB as
//   between 2 MiB and 4 MiB.
// - The load varies. It is 64 requests in flight at first, and every 200 arrivals another number
//   between 64 and 511 (uniform) is drawn. While fewer are in flight than that, arrivals just add
//   up; at the number, each arrival is followed by a request that is done, so that one more is in
//   flight for a moment; above it, two are done after each arrival.
// - Which request is done next is drawn from all in flight, so lifetimes are random: geometric, and
//   the longer the higher the load is.
// - At the end all are done: nothing stays allocated.

/** Options of {@link servingWorkload}. */
export interface ServingWorkloadOptions {
  /** Requests to the server; each makes 2 to 6 allocations. Default 4000. */
  requestCount?: number;
  /** The same seed gives the same events. Default 1. */
  seed?: number;
}

const liveRequestCountMin = 64;
const liveRequestCountMax = 512;
const tensorCountMin = 2;
const tensorCountMax = 6;
const tensorByteSizeMin = 512;
const tensorByteSizeMax = 4 * 1024 ** 2;
const arrivalsPerLoad = 200;

class Server {
  readonly events = new AllocationEventsBuilder();
  readonly #random: () => number;
  /** The allocations of each request in flight. */
  readonly #live: number[][] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  get liveRequestCount(): number {
    return this.#live.length;
  }

  integer(min: number, max: number): number {
    return min + Math.floor(this.#random() * (max - min + 1));
  }

  arrive(): void {
    const tensorCount = this.integer(tensorCountMin, tensorCountMax);
    this.#live.push(Array.from({ length: tensorCount }, () => this.#allocateTensor()));
  }

  finishAny(): void {
    const place = this.integer(0, this.#live.length - 1);
    const request = this.#live[place]!;
    this.#live[place] = this.#live.at(-1)!;
    this.#live.pop();
    for (const allocation of request) this.events.free(allocation);
  }

  #allocateTensor(): number {
    return this.events.allocate(
      logUniformByteSize(this.#random, tensorByteSizeMin, tensorByteSizeMax),
    );
  }
}

/** Makes the events of a server that runs inference, as the comment above describes it. */
export function servingWorkload(options: ServingWorkloadOptions = {}): AllocationEvents {
  const { requestCount = 4000, seed = 1 } = options;
  const server = new Server(randomNumbers(seed));
  let load = liveRequestCountMin;
  for (let arrival = 1; arrival <= requestCount; arrival++) {
    const excess = server.liveRequestCount - load;
    server.arrive();
    if (excess >= 0) server.finishAny();
    if (excess > 0) server.finishAny();
    if (arrival % arrivalsPerLoad === 0) {
      load = server.integer(liveRequestCountMin, liveRequestCountMax - 1);
    }
  }
  while (server.liveRequestCount > 0) server.finishAny();
  return server.events.build();
}
