import { fileURLToPath } from "node:url";
import { AskedChild } from "../../../harness/child/asked-child.ts";
import type { EventLoopDelay, ServiceAnswer, ServiceRequest } from "./service-process.ts";

const programPath = fileURLToPath(new URL("service-process.ts", import.meta.url));

/** The simulator's copies take time, as on a GPU: 20 GB/s and 5 µs each, unless the user chose. */
const simulatedDelays = { CUDART_SIM_NS_PER_BYTE: "0.05", CUDART_SIM_OPERATION_NS: "5000" };

const answerSecondsMax = 30;

/** The process of the service, seen from outside. */
export class ServiceClient implements Disposable {
  readonly #child = new AskedChild<ServiceRequest, ServiceAnswer>(
    "the service's process",
    {
      argv: [process.execPath, programPath],
      environment: { ...simulatedDelays, ...process.env } as Record<string, string>,
    },
    answerSecondsMax,
  );

  /** Returns where the service listens. It must be called once, and first. */
  async url(): Promise<string> {
    return (await this.#child.next("ready")).url;
  }

  /** Returns how late the event loop was since the last call. */
  async eventLoopDelay(): Promise<EventLoopDelay> {
    return (await this.#child.ask("delay", "delay")).delay;
  }

  [Symbol.dispose](): void {
    this.#child[Symbol.dispose]();
  }
}
