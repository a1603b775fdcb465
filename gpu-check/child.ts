// Programs that the check runs: everything that touches a GPU, since what crashes or hangs there
// must not take the report with it.

import { appendFileSync } from "node:fs";
import { linesOf } from "../harness/child/lines.ts";
import { type Finding, parseFinding } from "./findings.ts";
import { rootFolder } from "./paths.ts";
import type { Ending, Program } from "./step.ts";

export interface Listener {
  onFinding(finding: Finding): void;
  /** What the program printed besides is appended to this file. */
  logPath: string;
}

/** The process group of the program that runs, which is all that it started. */
let runningGroup: number | undefined;

/** Kills the program that runs, with all that it started. */
function killRunning(): void {
  if (runningGroup === undefined) return;
  try {
    process.kill(-runningGroup, "SIGKILL");
  } catch {
    // it has just ended
  }
}

/** A program is in a process group of its own, where a terminal's Ctrl-C does not reach it. */
export function killRunningOnExit(): void {
  process.on("exit", killRunning);
  process.on("SIGINT", () => process.exit(130));
  process.on("SIGTERM", () => process.exit(143));
}

/** Runs a program in the repository's root. */
export async function runProgram(
  { argv, timeoutSeconds, environment }: Program,
  { onFinding, logPath }: Listener,
): Promise<Ending> {
  const child = Bun.spawn(argv, {
    cwd: rootFolder,
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  runningGroup = child.pid;
  let isTimedOut = false;
  const timer = setTimeout(() => {
    isTimedOut = true;
    killRunning();
  }, timeoutSeconds * 1000);

  const output: string[] = [];
  let answer = "";
  const print = (line: string) => {
    output.push(line);
    appendFileSync(logPath, `${line}\n`);
  };
  const hearFindings = async () => {
    for await (const line of linesOf(child.stdout)) {
      const finding = parseFinding(line);
      if (finding !== null) onFinding(finding);
      else print((answer = line));
    }
  };
  const hearErrors = async () => {
    for await (const line of linesOf(child.stderr)) print(line);
  };
  // What it leaves behind goes with it, and lets go of its output.
  const exited = child.exited.then(killRunning);
  await Promise.all([hearFindings(), hearErrors(), exited]);
  clearTimeout(timer);
  runningGroup = undefined;
  return {
    failure: isTimedOut ? `no end in ${timeoutSeconds} s` : failureOf(child),
    output: output.join("\n"),
    answer,
  };
}

function failureOf({ exitCode, signalCode }: Bun.Subprocess): string {
  if (signalCode !== null) return String(signalCode);
  return exitCode === 0 ? "" : `exit code ${exitCode}`;
}
