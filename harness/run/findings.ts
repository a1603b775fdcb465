// What a run finds out, one thing at a time. A child process says each finding in a message, so
// that what it found before it crashed or hung is known too.

import type { Message } from "../child/messages.ts";
import type { Figure } from "../timing/figures.ts";

/** Something that was judged: a guarantee of the project, or a limit on a figure. */
export interface Check {
  kind: "check";
  name: string;
  isKept: boolean;
  /** What was seen. */
  detail: string;
}

/** A check that compares a figure with a limit. It is missed where any other check is broken. */
export interface LimitCheck extends Check {
  /** `null` where there was nothing to measure. */
  value: number | null;
  limit: number;
  /** `""` for a ratio. */
  unit: string;
}

/** Something that was not done. */
export interface Skipped {
  kind: "skipped";
  name: string;
  reason: string;
}

export type Finding = Check | LimitCheck | Skipped | Figure;

/** The members that a finding of each kind has to have, and their types. */
const memberTypes: Readonly<Record<Finding["kind"], Readonly<Record<string, string>>>> = {
  check: { name: "string", isKept: "boolean", detail: "string" },
  skipped: { name: "string", reason: "string" },
  figure: { row: "string", contestant: "string", unit: "string", rounds: "array" },
};

/** Whether a child's message is a finding, and whole: a child may print anything. */
export function isFinding(message: Message): message is Finding {
  if (!Object.hasOwn(memberTypes, message.kind)) return false;
  const members = message as unknown as Record<string, unknown>;
  return Object.entries(memberTypes[message.kind as Finding["kind"]]).every(
    ([name, type]) => (Array.isArray(members[name]) ? "array" : typeof members[name]) === type,
  );
}

export function checkOf(name: string, isKept: boolean, detail: string): Check {
  return { kind: "check", name, isKept, detail };
}

export function kept(name: string, detail: string): Check {
  return checkOf(name, true, detail);
}

export function broken(name: string, detail: string): Check {
  return checkOf(name, false, detail);
}

/** The check that a figure is at most a limit. A figure that is not finite was not measured. */
export function limitOf(name: string, value: number, limit: number, unit = ""): LimitCheck {
  return {
    ...checkOf(name, value <= limit, `${value} ${unit}, at most ${limit}`),
    value: Number.isFinite(value) ? value : null,
    limit,
    unit,
  };
}

export function skipped(name: string, reason: string): Skipped {
  return { kind: "skipped", name, reason };
}

export function isLimit<Type extends Check>(check: Type): check is Type & LimitCheck {
  return "limit" in check;
}

export type Verdict = "OK" | "MISSED" | "BROKEN" | "-";

/** `"-"` for a limit on a figure that was not measured. */
export function verdictOf(check: Check): Verdict {
  if (check.isKept) return "OK";
  if (!isLimit(check)) return "BROKEN";
  return check.value === null ? "-" : "MISSED";
}
