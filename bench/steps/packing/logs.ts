import { readdirSync } from "node:fs";
import { basename, join } from "node:path";
import {
  type AllocationEvents,
  granuleByteSize,
  peakLiveByteSize,
} from "../../../examples/replay/allocation-events.ts";
import { readRmmLog, RmmLogError } from "../../../examples/replay/rmm-log.ts";

/** A log with a smaller peak is taken to be from a memory that is handed out byte by byte. */
export const smallPeakByteSize = 8 * 1024 ** 2;

/** A log, scaled where it has to be. */
export interface PackedLog {
  name: string;
  events: AllocationEvents;
  /** The factor by which each size was multiplied. */
  scale: number;
}

function rawPeakByteSize({ events, byteSizes }: AllocationEvents): number {
  return (
    peakLiveByteSize({
      events,
      byteSizes: byteSizes.map((byteSize) => byteSize * granuleByteSize),
    }) / granuleByteSize
  );
}

/**
 * Logs of small memories, such as on-chip buffers, count single bytes: most of their blocks would
 * round up to one granule or two, and what makes them hard would be gone. Their sizes are
 * therefore multiplied by the granule.
 */
function scaled(name: string, events: AllocationEvents): PackedLog {
  if (rawPeakByteSize(events) >= smallPeakByteSize) return { name, events, scale: 1 };
  const byteSizes = events.byteSizes.map((byteSize) => byteSize * granuleByteSize);
  return { name, events: { ...events, byteSizes }, scale: granuleByteSize };
}

/**
 * Reads every RMM log of a folder, `.csv` or `.csv.gz`, by name.
 *
 * @throws {RmmLogError} for a log or a folder that cannot be read, and a folder without logs.
 */
export async function readLogs(folder: string): Promise<PackedLog[]> {
  let names: string[];
  try {
    names = readdirSync(folder).filter((name) => /\.csv(\.gz)?$/.test(name));
  } catch (error) {
    throw new RmmLogError(`${folder}: cannot be read: ${(error as Error).message}`);
  }
  if (names.length === 0) throw new RmmLogError(`${folder}: there is no .csv or .csv.gz in it`);
  return Promise.all(
    names.sort().map(async (name) => {
      const events = await readRmmLog(join(folder, name));
      return scaled(basename(name).replace(/\.csv(\.gz)?$/, ""), events);
    }),
  );
}
