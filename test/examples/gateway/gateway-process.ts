import type { Subprocess } from "bun";
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tenants } from "./gateway-under-test.ts";

export const gatewayProgramPath = join(import.meta.dir, "../../../examples/gateway/main.ts");

/** The gateway, run directly in a process of its own, on any free port. */
export class GatewayProcess implements AsyncDisposable {
  readonly #child: Subprocess<"ignore", "pipe", "inherit" | "pipe">;
  readonly #tenantsPath = join(tmpdir(), `tenants-${process.pid}-${Bun.randomUUIDv7()}.json`);

  /** @param stderr `"pipe"` for those who want {@link errors}. */
  constructor(
    argv: string[],
    environment: Record<string, string> = {},
    stderr: "inherit" | "pipe" = "inherit",
  ) {
    const path = this.#tenantsPath;
    writeFileSync(path, JSON.stringify(tenants), { mode: 0o600 });
    const program = [gatewayProgramPath, "--tenants", path, "--port", "0"];
    this.#child = Bun.spawn([process.execPath, ...program, ...argv], {
      stdio: ["ignore", "pipe", stderr],
      env: { ...process.env, ...environment }, // this includes the choice of a CUDA runtime
      timeout: 60_000,
      killSignal: "SIGKILL",
    });
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The line that it prints once it listens: its address, and what it computes with. */
  async start(): Promise<{ url: string; computes: string }> {
    const { value } = await this.#child.stdout.getReader().read();
    const [, url, computes] = /^(\S+) (.*)\n$/.exec(new TextDecoder().decode(value))!;
    return { url: url!, computes: computes! };
  }

  kill(signal: "SIGTERM" | "SIGINT"): void {
    this.#child.kill(signal);
  }

  /** The lines that it prints of errors, until it has ended. */
  async errors(): Promise<string[]> {
    return (await this.#child.stderr!.text()).trim().split("\n");
  }

  /** Its exit code, once it has ended. */
  get exited(): Promise<number> {
    return this.#child.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.exited;
    await Bun.file(this.#tenantsPath).delete();
  }
}
