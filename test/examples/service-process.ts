import type { Subprocess } from "bun";
import { join } from "node:path";

export const serviceProgramPath = join(
  import.meta.dir,
  "../../examples/tensor-service/tensor-service.ts",
);

/** The service, run directly in a process of its own, on any free port. */
export class ServiceProcess implements AsyncDisposable {
  readonly #child: Subprocess<"ignore", "pipe", "inherit">;

  constructor(argv: string[], environment: Record<string, string> = {}) {
    this.#child = Bun.spawn([process.execPath, serviceProgramPath, "--port", "0", ...argv], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, ...environment }, // this includes the choice of a CUDA runtime
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The address that it prints once it listens. */
  async url(): Promise<string> {
    const { value } = await this.#child.stdout.getReader().read();
    return new TextDecoder().decode(value).trim();
  }

  /** Tells it to end. Returns its exit code. */
  async end(): Promise<number> {
    this.#child.kill("SIGTERM");
    return await this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
  }
}
