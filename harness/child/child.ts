import type { Subprocess } from "bun";
import { rootFolder } from "../paths.ts";
import { linesOf } from "./lines.ts";
import { type Message, parseMessage } from "./messages.ts";

/** A program to run as a child process, in the repository's root. */
export interface Program {
  argv: readonly string[];
  /** Added to the environment of this process. */
  environment?: Readonly<Record<string, string>>;
  /**
   * Whether the child gets a process group of its own. It is then killed with all that it started,
   * and a terminal's Ctrl-C does not reach it.
   */
  hasOwnGroup?: boolean;
}

/** What is done with the output of a child, line by line as it comes. */
export interface Listener<Received extends Message> {
  onMessage(message: Received): void;
  onLog(line: string): void;
}

/** The children with a group of their own that are running. */
const groups = new Set<Child<never>>();

/** Makes the end of this process, also by a signal, the end of those that have their own group. */
export function killGroupsOnExit(): void {
  process.on("exit", () => {
    for (const child of groups) child.kill();
  });
  process.on("SIGINT", () => process.exit(130));
  process.on("SIGTERM", () => process.exit(143));
}

/** A child process that is running, as its parent sees it. */
export class Child<Received extends Message> {
  /**
   * Resolves when the child has ended and its output has been heard to the end: `""` where it ended
   * well, otherwise how it ended, such as `"exit code 1"` or `"SIGSEGV"`.
   */
  readonly ended: Promise<string>;
  readonly #process: Subprocess<"pipe" | "ignore", "pipe", "pipe">;
  readonly #hasOwnGroup: boolean;

  /** @param stdin `"pipe"` for a child that takes requests. */
  constructor(
    { argv, environment, hasOwnGroup = false }: Program,
    listener: Listener<Received>,
    stdin: "pipe" | "ignore" = "ignore",
  ) {
    this.#hasOwnGroup = hasOwnGroup;
    this.#process = Bun.spawn([...argv], {
      cwd: rootFolder,
      env: { ...process.env, ...environment },
      stdio: [stdin, "pipe", "pipe"],
      detached: hasOwnGroup,
    });
    if (hasOwnGroup) groups.add(this);
    this.ended = this.#hear(listener);
  }

  /** Writes a request to the child's stdin. */
  send(request: unknown): void {
    const { stdin } = this.#process;
    if (stdin === undefined) throw new Error("this child takes no requests");
    stdin.write(`${JSON.stringify(request)}\n`);
    stdin.flush();
  }

  kill(): void {
    if (!this.#hasOwnGroup) {
      this.#process.kill("SIGKILL");
      return;
    }
    try {
      process.kill(-this.#process.pid, "SIGKILL");
    } catch {
      // the whole group has ended
    }
  }

  async #hear({ onMessage, onLog }: Listener<Received>): Promise<string> {
    const { stdout, stderr, exited } = this.#process;
    const hearMessages = async () => {
      for await (const line of linesOf(stdout)) {
        const message = parseMessage(line);
        if (message === null) onLog(line);
        else onMessage(message as Received);
      }
    };
    const hearErrors = async () => {
      for await (const line of linesOf(stderr)) onLog(line);
    };
    // What the child leaves running is killed: it would keep the output open.
    const left = exited.then(() => this.kill());
    await Promise.all([hearMessages(), hearErrors(), left]);
    groups.delete(this);
    const { exitCode, signalCode } = this.#process;
    if (signalCode !== null) return String(signalCode);
    return exitCode === 0 ? "" : `exit code ${exitCode}`;
  }
}
