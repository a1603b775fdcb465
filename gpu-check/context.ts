import type { Message } from "../harness/child/messages.ts";
import type { Ending, TimedProgram } from "../harness/child/run-program.ts";
import type { Step, StepContext } from "../harness/run/step.ts";
import type { GpuCheckOptions } from "./options.ts";
import type { GpuCheckReport } from "./report.ts";

/** A program that is killed after a time, with all that it started. */
export type LimitedProgram = TimedProgram & { timeoutSeconds: number };

/**
 * What a step of the check does its work with. Everything that touches a GPU runs in a child
 * process, since what crashes or hangs there must not take the report with it.
 */
export interface GpuCheckContext extends StepContext<GpuCheckOptions, GpuCheckReport> {
  /** Runs a program in the repository's root, and adds the findings among its messages. */
  run<Received extends Message>(program: LimitedProgram): Promise<Ending<Received>>;
  /** As {@link run}, and adds a broken check of this name for a program that does not end well. */
  runOrBreak<Received extends Message>(
    name: string,
    program: LimitedProgram,
  ): Promise<Ending<Received>>;
  /** Seconds until programs are killed because the whole check has to end. */
  secondsLeft(): number;
}

export type GpuCheckStep = Step<GpuCheckContext>;
