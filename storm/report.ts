import { type Board, mainThreadIndex, type StormEvent } from "./events.ts";
import type { StormMessage } from "./messages.ts";
import { commandOf, type StormOptions } from "./options.ts";
import { planOf } from "./round.ts";

/** How many of the last events are printed. */
const shownEventCount = 64;

export type FailureMessage = Extract<StormMessage, { kind: "failure" }>;

function nameOf(threadIndex: number): string {
  return threadIndex === mainThreadIndex ? "main" : `t${threadIndex}`;
}

function lineOf({ number, threadIndex, text }: StormEvent): string {
  return `  ${number} ${nameOf(threadIndex).padEnd(4)} ${text}`;
}

function eventLines(board: Board, threadCount: number): string[] {
  const last = board.lastEvents(shownEventCount);
  const first = last[0]?.number ?? 0;
  const threads = [...Array(threadCount).keys(), mainThreadIndex];
  const older = threads
    .map((threadIndex) => board.lastEventOf(threadIndex))
    .filter((event) => event !== null && event.number < first) as StormEvent[];
  const lines = [`the last ${last.length} events of all threads:`, ...last.map(lineOf)];
  if (older.length > 0) lines.push("and longer ago, the last of the others:", ...older.map(lineOf));
  return lines;
}

/** What a person needs to look into a failure. */
export function failureText(
  options: StormOptions,
  board: Board,
  ending: string,
  failure: FailureMessage | null,
): string {
  const lines = eventLines(board, options.threadCount);
  const { hasFaults, hasResets } = planOf(options, board.round);
  const [faults, resets] = [hasFaults ? "with" : "without", hasResets ? "with" : "without"];
  lines.push("", `round ${board.round}, ${faults} faults, ${resets} resets`);
  if (failure === null) {
    lines.push(`the storm's process: ${ending}`);
  } else {
    const { threadIndex, expected, seen, stack } = failure;
    lines.push(`${nameOf(threadIndex)}:`, `  expected ${expected}`, `  seen: ${seen}`, "", stack);
  }
  lines.push("", `seed ${options.seed}; again: ${commandOf(options, board.round)}`);
  return lines.join("\n");
}
