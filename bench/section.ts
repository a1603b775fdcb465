import type { Progress } from "../harness/text/progress.ts";

/** How much work to do. */
export interface Effort {
  /** Rounds of each section; undefined for the section's own choice. */
  roundCount: number | undefined;
  /** Only shows that everything runs: the figures mean nothing. */
  isQuick: boolean;
  /** A folder of RMM logs to pack. */
  tracesFolder: string | undefined;
}

export interface SectionContext extends Effort {
  progress: Progress;
}

/** Something that the project promises of a figure. */
export interface Limit {
  /** What is limited, in a few words. */
  name: string;
  /** `null` where there was nothing to measure. */
  value: number | null;
  limit: number;
  /** `""` for a ratio. */
  unit: string;
  isKept: boolean;
}

export function limitOf(name: string, value: number, limit: number, unit = ""): Limit {
  return {
    name,
    value: Number.isFinite(value) ? value : null,
    limit,
    unit,
    isKept: value <= limit,
  };
}

/** What a section found. */
export interface SectionResult {
  /** For a person: lines of at most 100 characters. */
  text: string;
  limits: Limit[];
  /** For a program, with every single round. */
  data: unknown;
}

/** A part of the benchmark that can run by itself. */
export interface Section {
  /** What `--only` calls it. */
  name: string;
  title: string;
  run(context: SectionContext): Promise<SectionResult>;
}
