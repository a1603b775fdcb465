import { Progress } from "../text/progress.ts";
import { UsageError } from "./errors.ts";
import { broken, type Finding, skipped, verdictOf } from "./findings.ts";
import type { RunOptions } from "./options.ts";
import { notChosen, type Report, writeReport } from "./report.ts";
import type { Step, StepContext } from "./step.ts";

/** One run: it does the steps, prints what they say and keeps the report. */
export class Run<Options extends RunOptions, RunReport extends Report> implements StepContext<
  Options,
  RunReport
> {
  readonly options: Options;
  readonly report: RunReport;
  readonly progress = new Progress();
  #stepName = "";
  #hasStepPrinted = false;

  constructor(options: Options, report: RunReport) {
    this.options = options;
    this.report = report;
  }

  /** The step that is being done. */
  get stepName(): string {
    return this.#stepName;
  }

  get isBroken(): boolean {
    return this.report.checks.some((check) => verdictOf(check) === "BROKEN");
  }

  /** Does the steps one after the other, and writes the report after each. */
  async do(steps: readonly Step<this>[]): Promise<void> {
    const chosen = steps.filter((step) => this.#isChosen(step));
    for (const step of steps) {
      this.#stepName = step.name;
      if (chosen.includes(step)) {
        console.log(`\n[${chosen.indexOf(step) + 1}/${chosen.length}] ${step.title}`);
        await this.#doUnlessBroken(step);
      } else {
        this.add(skipped(step.title, notChosen));
      }
      this.report.isPassed = step === steps.at(-1) && !this.isBroken;
      this.report.durationSeconds = process.uptime();
      await writeReport(this.options.jsonPath, this.report);
    }
  }

  add(...findings: readonly Finding[]): void {
    const { report, stepName: step } = this;
    for (const finding of findings) {
      if (finding.kind === "check") report.checks.push({ step, ...finding });
      else if (finding.kind === "skipped") report.skipped.push({ step, ...finding });
      else report.figures.push({ step, ...finding });
    }
  }

  print(text: string): void {
    this.progress.clear();
    if (!this.#hasStepPrinted) console.log();
    this.#hasStepPrinted = true;
    console.log(text);
  }

  /** Why a step that threw this counts as skipped; `null`, the default, where it is broken. */
  protected reasonToSkip(_error: unknown): string | null {
    return null;
  }

  #isChosen({ name, isAlwaysRun = false }: Step<this>): boolean {
    const { only } = this.options;
    return isAlwaysRun || only.length === 0 || only.includes(name);
  }

  /** Once a check is broken, what follows could only mislead. */
  async #doUnlessBroken(step: Step<this>): Promise<void> {
    if (this.isBroken) {
      this.add(skipped(step.title, "a guarantee was broken before"));
      return;
    }
    this.#hasStepPrinted = false;
    try {
      const data = await step.run(this);
      if (data !== undefined) this.report.data[step.name] = data;
    } catch (error) {
      if (error instanceof UsageError) throw error;
      this.#addError(step, error);
    } finally {
      this.progress.clear();
    }
  }

  #addError(step: Step<this>, error: unknown): void {
    const reason = this.reasonToSkip(error);
    if (reason !== null) {
      this.add(skipped(step.title, reason));
      this.print(`  skipped: ${reason}`);
    } else {
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.add(broken("the step ends well", text));
    }
  }
}
