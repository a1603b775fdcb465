import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { describeMachine, type Machine } from "../machine.ts";
import type { Figure } from "../timing/figures.ts";
import { type Check, type Skipped, verdictOf } from "./findings.ts";
import type { RunOptions } from "./options.ts";

/** A finding, with the name of the step that found it. */
export type OfStep<Found> = Found & { step: string };

/** What a run found: the JSON file. */
export interface Report {
  /** Changes when what is below changes its meaning. */
  formatVersion: 2;
  machine: Machine;
  /** It was only shown that everything runs: no figure means anything. */
  isQuick: boolean;
  /** Whether the run came to its end and no check is broken; a limit may be missed. */
  isPassed: boolean;
  durationSeconds: number;
  checks: OfStep<Check>[];
  /** What was not done, and why. */
  skipped: OfStep<Skipped>[];
  figures: OfStep<Figure>[];
  /** By step: what else it says for a program to read. */
  data: Record<string, object>;
}

/** The report of a run that has only begun. */
export function newReport({ isQuick }: RunOptions): Report {
  return {
    formatVersion: 2,
    machine: describeMachine(),
    isQuick,
    isPassed: false,
    durationSeconds: 0,
    checks: [],
    skipped: [],
    figures: [],
    data: {},
  };
}

export async function writeReport(path: string, report: Report): Promise<void> {
  mkdirSync(dirname(path), { recursive: true });
  await Bun.write(path, `${JSON.stringify(report, null, 1)}\n`);
}

/** Why a step is skipped that `--only` does not name. Whoever used it need not be told. */
export const notChosen = "--only names other steps";

/** The end of what a program printed, where it says why it ended. The report has all of it. */
function lastLines(text: string): string {
  const lines = text.split("\n");
  return lines.length <= 40 ? text : ["…", ...lines.slice(-40)].join("\n");
}

/**
 * What was skipped and what is broken, and how much of everything there is.
 *
 * @param remarks Lines that stand between the two.
 */
export function closingLines(
  report: Report,
  jsonPath: string,
  remarks: readonly string[] = [],
): string {
  const { checks, skipped, durationSeconds } = report;
  const having = (...verdicts: string[]) =>
    checks.filter((check) => verdicts.includes(verdictOf(check)));
  const broken = having("BROKEN");
  const missed = having("MISSED");
  const listed = skipped.filter(({ reason }) => reason !== notChosen);
  const counts = [
    `${having("OK").length} checks kept`,
    ...(missed.length > 0 ? [`${missed.length} missed`] : []),
    `${broken.length} broken`,
    `${listed.length} skipped`,
  ];
  return [
    ...listed.map(({ step, name, reason }) => `skipped: ${step}: ${name}: ${reason}`),
    ...remarks,
    ...broken.map(({ step, name, detail }) => `BROKEN: ${step}: ${name}: ${lastLines(detail)}`),
    `${counts.join(", ")}, in ${durationSeconds.toFixed(0)} s.`,
    `Everything is in ${jsonPath}.`,
  ].join("\n");
}
