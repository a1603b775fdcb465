import { describe, expect, spyOn, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UsageError } from "../../harness/run/errors.ts";
import { broken, kept, limitOf } from "../../harness/run/findings.ts";
import type { RunOptions } from "../../harness/run/options.ts";
import { closingLines, newReport, type Report } from "../../harness/run/report.ts";
import { Run } from "../../harness/run/run.ts";
import type { Step, StepContext } from "../../harness/run/step.ts";

class StrictRun extends Run<RunOptions, Report> {}

/** For a program of which some errors only skip a step. */
class LenientRun extends StrictRun {
  protected override reasonToSkip(error: unknown): string | null {
    return error instanceof RangeError ? error.message : null;
  }
}

/** A step of this name. */
function step(name: string, run: Step<StepContext>["run"], isAlwaysRun = false): Step<StepContext> {
  return { name, title: `Title of ${name}`, isAlwaysRun, run };
}

/** Does the steps; gives the report in the file and what was printed. */
async function runOf(
  steps: readonly Step<StepContext>[],
  only: string[] = [],
  Program = StrictRun,
) {
  const folder = mkdtempSync(join(tmpdir(), "run-"));
  const log = spyOn(console, "log").mockImplementation(() => {});
  try {
    const options = { only, isQuick: false, jsonPath: join(folder, "report.json") };
    const run = new Program(options, newReport(options));
    await run.do(steps);
    const report = JSON.parse(readFileSync(options.jsonPath, "utf8")) as Report;
    return { report, printed: log.mock.calls.map(([line = ""]) => String(line)) };
  } finally {
    log.mockRestore();
    rmSync(folder, { recursive: true });
  }
}

describe("a run", () => {
  test("keeps what its steps find, print and return", async () => {
    const { report, printed } = await runOf([
      step("first", async (context) => {
        context.add(kept("a", "seen"), limitOf("b", 2, 1, "ns"));
        context.print("one");
        context.print("two");
        return { rounds: [1, 2] };
      }),
      step("second", async () => {}),
    ]);
    expect(report.checks.map(({ step, name }) => [step, name])).toEqual([
      ["first", "a"],
      ["first", "b"],
    ]);
    expect(report.data).toEqual({ first: { rounds: [1, 2] } });
    expect(report.isPassed).toBe(true); // a missed limit breaks nothing
    expect(printed).toEqual([
      "\n[1/2] Title of first",
      "",
      "one",
      "two",
      "\n[2/2] Title of second",
    ]);
    const closing = closingLines(report, "FILE", ["a remark"]).replace(/in \d+ s/, "in 0 s");
    expect(closing).toBe(
      "a remark\n1 checks kept, 1 missed, 0 broken, 0 skipped, in 0 s.\nEverything is in FILE.",
    );
  });

  test("skips every step after a broken check", async () => {
    const { report } = await runOf([
      step("first", async (context) => context.add(broken("a", "seen"))),
      step("second", () => Promise.reject(new Error("must not be run"))),
    ]);
    expect(report.isPassed).toBe(false);
    expect(report.skipped).toMatchObject([
      { step: "second", reason: "a guarantee was broken before" },
    ]);
    expect(closingLines(report, "FILE")).toContain("BROKEN: first: a: seen\n");
  });

  test("is broken by an error, unless the program says that it only skips the step", async () => {
    const steps = [
      step("small", () => Promise.reject(new RangeError("no room"))),
      step("wrong", () => Promise.reject(new Error("out of ink"))),
    ];
    expect((await runOf(steps)).report.checks).toMatchObject([{ step: "small", isKept: false }]);
    const { report } = await runOf(steps, [], LenientRun);
    expect(report.skipped).toMatchObject([{ step: "small", reason: "no room" }]);
    expect(report.checks).toMatchObject([
      { step: "wrong", name: "the step ends well", isKept: false },
    ]);
    expect(report.checks[0]!.detail).toContain("out of ink");
  });

  test("ends where the options make no sense", async () => {
    const steps = [step("wrong", () => Promise.reject(new UsageError("no such folder")))];
    await expect(runOf(steps)).rejects.toThrow("no such folder");
  });

  test("does only the steps that are named, and those that are always run", async () => {
    const done: string[] = [];
    const noted = (name: string, isAlwaysRun?: boolean) =>
      step(name, async () => void done.push(name), isAlwaysRun);
    const steps = [noted("first", true), noted("second"), noted("third")];
    const { report } = await runOf(steps, ["third"]);
    expect(done).toEqual(["first", "third"]);
    expect(report.skipped).toMatchObject([{ step: "second", reason: "--only names other steps" }]);
    expect(closingLines(report, "FILE")).not.toContain("second");
  });
});
