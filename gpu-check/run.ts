import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describeMachine } from "../harness/machine.ts";
import { simulatorLibraryPath } from "../harness/native/library-paths.ts";
import { runProgram } from "./child.ts";
import type { Finding } from "./findings.ts";
import type { GpuCheckOptions } from "./options.ts";
import { workFolder } from "./paths.ts";
import type { Report } from "./report.ts";
import { broken, type Ending, type Program, skipped, type Step, type StepContext } from "./step.ts";

/** For all programs together, so that the whole fits into ten minutes with room to spare. */
const totalSeconds = 510;

/** Two GPUs, both large, and one that is too old. */
const simulatedDevices = "9.0:85899345920,8.0:85899345920,5.2:1073741824";

/** One run of the check: it does the steps, and keeps the report. */
export class Run implements StepContext {
  readonly options: GpuCheckOptions;
  readonly report: Report;
  #stepName = "";

  constructor(options: GpuCheckOptions) {
    this.options = options;
    this.report = {
      formatVersion: 1,
      isRehearsal: options.isRehearsal,
      isQuick: options.isQuick,
      isPassed: false,
      durationSeconds: 0,
      machine: { ...describeMachine(), bunPath: process.execPath },
      gpuMachine: null,
      checks: [],
      skipped: [],
      figures: [],
      bench: {},
    };
    rmSync(workFolder, { recursive: true, force: true });
    mkdirSync(workFolder, { recursive: true });
  }

  get isBroken(): boolean {
    return this.report.checks.some(({ isKept }) => !isKept);
  }

  /** Once a promise was broken, a step is only skipped. */
  async do(step: Step): Promise<void> {
    this.#stepName = step.name;
    const { only } = this.options;
    if (this.isBroken) {
      this.add(skipped(step.title, "a promise was broken before"));
    } else if (!step.isAlwaysRun && only.length > 0 && !only.includes(step.name)) {
      this.add(skipped(step.title, "--only names other steps"));
    } else {
      await this.#tryTo(step);
    }
    this.report.durationSeconds = process.uptime();
  }

  async #tryTo(step: Step): Promise<void> {
    try {
      await step.run(this);
    } catch (error) {
      this.add(broken("the step ends well", error instanceof Error ? error.stack! : String(error)));
    }
  }

  add(finding: Finding): void {
    const { checks, skipped, figures } = this.report;
    const step = this.#stepName;
    if (finding.kind === "check") checks.push({ step, ...finding });
    else if (finding.kind === "skipped") skipped.push({ step, ...finding });
    else figures.push({ step, ...finding });
  }

  secondsLeft(): number {
    return Math.max(1, Math.floor(totalSeconds - process.uptime()));
  }

  async run(program: Program): Promise<Ending> {
    return await runProgram(
      {
        ...program,
        timeoutSeconds: Math.min(program.timeoutSeconds, this.secondsLeft()),
        environment: { ...this.#runtimeEnvironment(), ...program.environment },
      },
      {
        onFinding: (finding) => this.add(finding),
        logPath: join(workFolder, `${this.#stepName}.log`),
      },
    );
  }

  async runOrBreak(name: string, program: Program): Promise<Ending> {
    const ending = await this.run(program);
    if (ending.failure !== "" && !this.isBroken) {
      this.add(broken(name, `${ending.failure}\n${ending.output}`));
    }
    return ending;
  }

  /** What chooses the CUDA runtime. Once the machine's is known, every program uses that one. */
  #runtimeEnvironment(): Record<string, string> {
    if (this.options.isRehearsal) {
      return {
        BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
        CUDART_SIM_DEVICES: process.env["CUDART_SIM_DEVICES"] || simulatedDevices,
      };
    }
    const found = this.report.gpuMachine;
    return found === null ? {} : { BUN_CUDA_MEMORY_CUDART: found.cudartPath };
  }
}
