import type { Progress } from "../text/progress.ts";
import type { Finding } from "./findings.ts";
import type { RunOptions } from "./options.ts";
import type { Report } from "./report.ts";

/** What a step does its work with. */
export interface StepContext<
  Options extends RunOptions = RunOptions,
  RunReport extends Report = Report,
> {
  readonly options: Options;
  /** What is known so far. */
  readonly report: RunReport;
  /** Says what is going on, where a terminal is watching. */
  readonly progress: Progress;
  /** Adds what the step found to the report. */
  add(...findings: readonly Finding[]): void;
  /** Prints lines of at most 100 characters for a person. */
  print(text: string): void;
}

/** A part of a run. It is over when it has said everything that it found. */
export interface Step<Context> {
  /** What `--only` and the report call it. */
  name: string;
  title: string;
  /** Whether other steps depend on it, so that `--only` does not leave it out. */
  isAlwaysRun?: boolean;
  /**
   * @returns What else goes into the report's `data`, for a program to read.
   * @throws {UsageError} where the options make no sense, which ends the run.
   */
  run(context: Context): Promise<object | void>;
}
