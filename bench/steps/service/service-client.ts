import type { Subprocess } from "bun";
import { fileURLToPath } from "node:url";
import type { EventLoopDelay, ServiceAnswer } from "./service-process.ts";

const programPath = fileURLToPath(new URL("service-process.ts", import.meta.url));

/** Copies take their time, as on a GPU, where the simulator makes them: 20 GB/s and 5 µs each. */
const simulatedDelays = { CUDART_SIM_NS_PER_BYTE: "0.05", CUDART_SIM_OPERATION_NS: "5000" };

/** A process that has not answered by then never will. */
const answerMillisecondsMax = 30_000;

/** The process of the service, seen from outside. */
export class ServiceClient implements Disposable {
  readonly #child: Subprocess;
  #next = Promise.withResolvers<ServiceAnswer>();

  constructor() {
    this.#child = Bun.spawn([process.execPath, programPath], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...simulatedDelays, ...process.env },
      ipc: (answer: ServiceAnswer) => this.#next.resolve(answer),
      onExit: (_child, exitCode, signal) => this.#fail(`ended with ${exitCode ?? signal}`),
    });
  }

  /** Where it listens. Must be asked for once, and first. */
  async url(): Promise<string> {
    return (await this.#answer("ready")).url;
  }

  /** Since the last call. */
  async eventLoopDelay(): Promise<EventLoopDelay> {
    this.#child.send("delay");
    return (await this.#answer("delay")).delay;
  }

  async #answer<Kind extends ServiceAnswer["kind"]>(
    kind: Kind,
  ): Promise<Extract<ServiceAnswer, { kind: Kind }>> {
    const timer = setTimeout(() => this.#fail("does not answer"), answerMillisecondsMax);
    try {
      const answer = await this.#next.promise;
      this.#next = Promise.withResolvers();
      if (answer.kind !== kind) throw new Error(`answered "${answer.kind}", not "${kind}"`);
      return answer as Extract<ServiceAnswer, { kind: Kind }>;
    } finally {
      clearTimeout(timer);
    }
  }

  #fail(what: string): void {
    this.#next.reject(new Error(`the service's process ${what}`));
    this.#next.promise.catch(() => {}); // whoever asks next learns of it
  }

  [Symbol.dispose](): void {
    this.#child.kill("SIGKILL");
  }
}
