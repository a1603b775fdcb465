import { CudaMemoryManager, MemoryError } from "bun-cuda-memory";
import { dlopen, type Pointer } from "bun:ffi";
import {
  type AllocationEvents,
  granuleByteSize,
  peakLiveByteSize,
  roundUpToGranule,
} from "../../../examples/replay/allocation-events.ts";
import { compileLibrary } from "../../../harness/native/compile.ts";

/** Ways to pack, in the order of the table's columns. */
export const packers = {
  pool: "this pool",
  bestFit: "best fit",
  firstFit: "first fit",
  twoEnds: "two ends",
} as const;

export type PackerName = keyof typeof packers;

/** The same numbers are in packers.c. */
const policies = { bestFit: 0, firstFit: 1, twoEnds: 2 } as const;

const deviceId = 0;

/** Tells whether a pool of this size serves all events. */
export type Serves = (poolByteSize: number) => boolean;

/** Runs the real pool. What it lacks is told from a failure of the device by its code. */
function poolServes({ events, byteSizes }: AllocationEvents): Serves {
  const pointers = new Float64Array(byteSizes.length);
  const serveAll = () => {
    for (const event of events) {
      if (event < 0) CudaMemoryManager.free(pointers[~event] as Pointer, deviceId);
      else pointers[event] = CudaMemoryManager.alloc(byteSizes[event]!, deviceId);
    }
  };
  return (poolByteSize) => {
    CudaMemoryManager.create({ memoryPoolByteSize: { [deviceId]: poolByteSize } });
    try {
      serveAll();
      return true;
    } catch (error) {
      if (error instanceof MemoryError && error.code === "OUT_OF_MEMORY") return false;
      throw error;
    } finally {
      CudaMemoryManager.reset();
    }
  };
}

function openSimulation() {
  return dlopen(compileLibrary("packers", ["bench/steps/packing/packers.c"]), {
    packer_serves: { args: ["i32", "f64", "ptr", "f64", "ptr", "f64"], returns: "i32" },
  }).symbols.packer_serves;
}

let packerServes: ReturnType<typeof openSimulation> | undefined;

/** Simulates another way to pack. */
export function simulationServes(
  name: keyof typeof policies,
  { events, byteSizes }: AllocationEvents,
): Serves {
  const serves = (packerServes ??= openSimulation());
  const granuleCounts = byteSizes.map((byteSize) => Math.ceil(byteSize / granuleByteSize));
  return (poolByteSize) => {
    const capacity = poolByteSize / granuleByteSize;
    const { length } = events;
    const result = serves(
      policies[name],
      capacity,
      events,
      length,
      granuleCounts,
      granuleCounts.length,
    );
    if (result < 0) throw new Error("there is no memory to simulate a packer");
    return result === 1;
  };
}

const growth = 1.001;

/** The search ends here: a log that needs as much would take for ever, and no workload does. */
const ratioMax = 16;

/** The number of sizes above the smallest that have to serve too: those up to 1% larger. */
const servingCountMin = 10;

/**
 * The smallest pool that serves all events, over the peak of live bytes: pools are tried from the
 * peak upwards, each 0.1% larger than the last. None is passed over, because a pool that is a
 * little larger can be worse, its blocks lying elsewhere; and a size counts only if those up to 1%
 * larger serve as well, because some serve by luck, and nobody could rely on them.
 */
export function packingRatio(name: PackerName, events: AllocationEvents): number {
  const peakByteSize = peakLiveByteSize(events);
  if (peakByteSize === 0) return 1;
  const serves = name === "pool" ? poolServes(events) : simulationServes(name, events);
  let smallestByteSize = peakByteSize;
  let servingCount = 0;
  for (let byteSize = peakByteSize; byteSize < ratioMax * peakByteSize;) {
    if (!serves(byteSize)) servingCount = 0;
    else if (servingCount++ === 0) smallestByteSize = byteSize;
    if (servingCount > servingCountMin) return smallestByteSize / peakByteSize;
    byteSize = Math.max(byteSize + granuleByteSize, roundUpToGranule(byteSize * growth));
  }
  return Infinity;
}
