import type { Check, Finding, Skipped } from "./findings.ts";
import type { GpuCheckOptions } from "./options.ts";
import type { Report } from "./report.ts";

/** How a program ended. */
export interface Ending {
  /** `"exit code 1"`, `"SIGSEGV"`, `"no end in 60 s"`; `""` where it ended well. */
  failure: string;
  /** What it printed, findings left out, as a person would have seen it. */
  output: string;
  /** The last line of that which was not about an error. */
  answer: string;
}

export interface Program {
  argv: string[];
  /** It is killed then, with all that it started. */
  timeoutSeconds: number;
  /** Added to the environment. */
  environment?: Record<string, string>;
}

/** What a step does its work with. */
export interface StepContext {
  readonly options: GpuCheckOptions;
  readonly report: Report;
  /** Runs a program, and takes the findings that it prints. */
  run(program: Program): Promise<Ending>;
  /** The same, and a program that does not end well is a broken promise. */
  runOrBreak(name: string, program: Program): Promise<Ending>;
  add(finding: Finding): void;
  /** Until programs are killed because the whole check has to end. */
  secondsLeft(): number;
}

/** A part of the check. It is over when it has said everything that it found. */
export interface Step {
  /** What `--only` calls it. */
  name: string;
  title: string;
  /** Whether others depend on it, so that `--only` does not leave it out. */
  isAlwaysRun?: boolean;
  run(context: StepContext): Promise<void>;
}

export function kept(name: string, detail: string): Check {
  return { kind: "check", name, isKept: true, detail };
}

export function broken(name: string, detail: string): Check {
  return { kind: "check", name, isKept: false, detail };
}

export function skipped(name: string, reason: string): Skipped {
  return { kind: "skipped", name, reason };
}
