import type { Subprocess } from "bun";
import { fileURLToPath } from "node:url";
import type { WorkloadAnswer, WorkloadOrder } from "./workloads.ts";

const programPath = fileURLToPath(new URL("workload-process.ts", import.meta.url));

/** The process of a workload, seen from outside. */
export class WorkloadClient implements Disposable {
  readonly #child: Subprocess;
  #settle: ((answer: WorkloadAnswer) => void) | undefined;

  constructor() {
    this.#child = Bun.spawn([process.execPath, programPath], {
      stdio: ["ignore", "inherit", "inherit"],
      ipc: (message: WorkloadAnswer) => this.#settle?.(message),
      onExit: (_child, exitCode, signal) =>
        this.#settle?.({ kind: "failed", message: `a process ended with ${exitCode ?? signal}` }),
    });
  }

  /** Prepares the workload. Returns what is to be said about it. */
  async prepare(order: WorkloadOrder): Promise<string[]> {
    const answer = await this.#ask(order);
    return answer.kind === "ready" ? answer.notes : [];
  }

  /** The figures of one more round, by name. */
  async measureRound(): Promise<Record<string, number>> {
    const answer = await this.#ask("round");
    return answer.kind === "round" ? answer.figures : {};
  }

  /** @throws {Error} for a process that failed. */
  async #ask(message: WorkloadOrder | "round"): Promise<WorkloadAnswer> {
    const { promise, resolve } = Promise.withResolvers<WorkloadAnswer>();
    this.#settle = resolve;
    this.#child.send(message);
    const answer = await promise;
    if (answer.kind === "failed") throw new Error(answer.message);
    return answer;
  }

  [Symbol.dispose](): void {
    this.#settle = undefined;
    this.#child.kill("SIGKILL"); // which saves freeing millions of blocks one by one
  }
}
