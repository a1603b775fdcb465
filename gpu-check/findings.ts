// What the check finds out, one thing at a time. A child process prints each finding as a line of
// JSON, so that what it found before it crashed or hung is known too.

import { writeSync } from "node:fs";

/** A promise that was put to the test. */
export interface Check {
  kind: "check";
  name: string;
  isKept: boolean;
  /** What was seen. */
  detail: string;
}

/** Something that was not done. */
export interface Skipped {
  kind: "skipped";
  name: string;
  reason: string;
}

/** Something that was measured. */
export interface Figure {
  kind: "figure";
  /** What was done: a row of the table. */
  row: string;
  /** Who did it. */
  contestant: string;
  unit: string;
  /** A figure for each round. */
  rounds: number[];
}

export type Finding = Check | Skipped | Figure;

/** A line that a child printed, if it is a finding. */
export function parseFinding(line: string): Finding | null {
  return line.startsWith('{"kind":') ? (JSON.parse(line) as Finding) : null;
}

/** Tells the parent. Has been written when it returns, whatever happens to this process next. */
export function report(finding: Finding): void {
  writeSync(1, `${JSON.stringify(finding)}\n`);
}
