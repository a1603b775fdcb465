import type { Report } from "../harness/run/report.ts";
import type { Step, StepContext } from "../harness/run/step.ts";
import type { BenchOptions } from "./options.ts";

export type BenchContext = StepContext<BenchOptions, Report>;

export type BenchStep = Step<BenchContext>;
