import { MemoryError } from "bun-cuda-memory";
import { newReport, type Report } from "../harness/run/report.ts";
import { Run } from "../harness/run/run.ts";
import type { BenchOptions } from "./options.ts";

/** One run of the benchmark. A step for which the CUDA runtime has no room is skipped. */
export class BenchRun extends Run<BenchOptions, Report> {
  constructor(options: BenchOptions) {
    super(options, newReport(options));
  }

  protected override reasonToSkip(error: unknown): string | null {
    return error instanceof MemoryError ? error.message : null;
  }
}
