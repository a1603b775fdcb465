import { appendFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Message } from "../harness/child/messages.ts";
import { type Ending, runProgram } from "../harness/child/run-program.ts";
import { runtimeEnvironment, simulatorEnvironment } from "../harness/cuda-runtime.ts";
import { broken, isFinding } from "../harness/run/findings.ts";
import { Run } from "../harness/run/run.ts";
import type { GpuCheckContext, LimitedProgram } from "./context.ts";
import type { GpuCheckOptions } from "./options.ts";
import { workFolder } from "./paths.ts";
import { type GpuCheckReport, newGpuCheckReport } from "./report.ts";

/** The time for all programs together. The whole then fits into ten minutes with room to spare. */
const totalSeconds = 510;

/** Two GPUs, both large, and one that is too old. */
const simulatedDevices = "9.0:85899345920,8.0:85899345920,5.2:1073741824";

/** One run of the check, whose steps run programs. */
export class GpuCheckRun extends Run<GpuCheckOptions, GpuCheckReport> implements GpuCheckContext {
  constructor(options: GpuCheckOptions) {
    super(options, newGpuCheckReport(options));
    rmSync(workFolder, { recursive: true, force: true });
    mkdirSync(workFolder, { recursive: true });
  }

  secondsLeft(): number {
    return Math.max(1, Math.floor(totalSeconds - process.uptime()));
  }

  async run<Received extends Message>(program: LimitedProgram): Promise<Ending<Received>> {
    const logPath = join(workFolder, `${this.stepName}.log`);
    return await runProgram<Received>(
      {
        ...program,
        hasOwnGroup: true,
        timeoutSeconds: Math.min(program.timeoutSeconds, this.secondsLeft()),
        environment: { ...this.#runtimeEnvironment(), ...program.environment },
      },
      {
        onMessage: (message) => {
          if (isFinding(message)) this.add(message);
          else appendFileSync(logPath, `${JSON.stringify(message)}\n`);
        },
        onLog: (line) => appendFileSync(logPath, `${line}\n`),
      },
    );
  }

  async runOrBreak<Received extends Message>(
    name: string,
    program: LimitedProgram,
  ): Promise<Ending<Received>> {
    const ending = await this.run<Received>(program);
    if (ending.failure !== "" && !this.isBroken) {
      this.add(broken(name, `${ending.failure}\n${ending.output}`));
    }
    return ending;
  }

  /** Once the machine's runtime is known, every program uses that one. */
  #runtimeEnvironment(): Record<string, string> {
    if (this.options.isRehearsal) {
      return simulatorEnvironment(process.env["CUDART_SIM_DEVICES"] || simulatedDevices);
    }
    const found = this.report.gpuMachine;
    return found === null ? {} : runtimeEnvironment(found.cudartPath);
  }
}
