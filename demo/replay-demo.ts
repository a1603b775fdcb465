import { type AllocationEvents, peakLiveByteSize } from "../examples/replay/allocation-events.ts";
import { findFittingPoolByteSize, replay, type ReplayReport } from "../examples/replay/replay.ts";
import { formatByteSize, formatCount } from "../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../harness/text/table.ts";
import { DemoFailure } from "./demo-failure.ts";
import type { Notes } from "./notes.ts";

// How large a CUDA memory pool a workload needs, and what becomes of it with the default one.

const defaultPoolByteSize = 64 * 1024 ** 2;

const columns: readonly Column[] = [
  { title: "CUDA pool", width: 22, align: "left" },
  { title: "GPU", width: 10, align: "right" },
  { title: "CPU_PINNED", width: 10, align: "right" },
  { title: "CPU", width: 10, align: "right" },
  { title: "nothing", width: 10, align: "right" },
  { title: "fell back", width: 10, align: "right" },
];

function printReport(title: string, { requestCount, byType }: ReplayReport): void {
  const counts = [byType.GPU, byType.CPU_PINNED, byType.CPU, byType.none];
  const fallbackShare = requestCount === 0 ? 0 : 1 - byType.GPU / requestCount;
  const cells = [title, ...counts.map(String), `${(fallbackShare * 100).toFixed(1)} %`];
  console.log(tableLine(columns, cells));
}

/** @throws {DemoFailure} where the pool that fits does not serve everything after all. */
export function demonstrateReplay(title: string, events: AllocationEvents, notes: Notes): void {
  const peakByteSize = peakLiveByteSize(events);
  console.log(`\nReplay of ${title}`);
  console.log(
    `  ${formatCount(events.byteSizes.length, "allocation")}, at most ` +
      `${formatByteSize(peakByteSize)} alive at once; where they are served from:\n`,
  );
  console.log(tableHead(columns));
  printReport(
    `${formatByteSize(defaultPoolByteSize)} (default)`,
    replay(events, defaultPoolByteSize),
  );
  const fitting = findFittingPoolByteSize(events);
  if (!fitting.fits) {
    console.log(`\n  no pool on this GPU serves all of it:\n  ${fitting.reason}`);
    notes.print();
    return;
  }
  const report = replay(events, fitting.byteSize);
  printReport(`${formatByteSize(fitting.byteSize)} (fits)`, report);
  const overhead = peakByteSize === 0 ? 0 : (fitting.byteSize / peakByteSize - 1) * 100;
  console.log(
    `\n  the smallest pool that serves all of it is ${overhead.toFixed(1)} % larger than the peak`,
  );
  notes.print();
  if (report.byType.GPU < report.requestCount) {
    throw new DemoFailure(
      `a pool of ${fitting.byteSize} bytes served all allocations, but not when it was used again`,
    );
  }
}
