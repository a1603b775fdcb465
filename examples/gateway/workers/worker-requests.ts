import { AllocatedMemory, type MemoryHandle } from "bun-cuda-memory";
import { HttpError, httpErrorOf } from "../http-error.ts";
import type { Scheduler } from "../scheduler.ts";
import type { Attached, ComputeResult, RequestMessage } from "./messages.ts";

function clientGone(): HttpError {
  return new HttpError(499, "the client has gone");
}

/** Frees memory that is nobody's. What the Worker had attached went when its thread ended. */
function freeDetached(handle: MemoryHandle): void {
  try {
    AllocatedMemory.attach(handle).free();
  } catch {}
}

/**
 * The requests of one Worker, in the thread that has the engine: the other end of the Worker's
 * `RemoteScheduler`. It is disposed of when the Worker has ended, and then nothing is left of them:
 * nobody waits for those that were coming, those that wait are not computed, and memory goes back
 * that nobody has any more.
 */
export class WorkerRequests implements Disposable {
  readonly #scheduler: Scheduler;
  readonly #post: (message: ComputeResult) => void;
  readonly #expected = new Map<number, Disposable>();
  readonly #submitted = new Map<number, AbortController>();
  /** Memory that the Worker may not have attached yet, in the order in which it was sent. */
  readonly #sent: MemoryHandle[] = [];
  #attachedCount = 0;
  #hasServed = false;
  #isDisposed = false;

  constructor(scheduler: Scheduler, post: (message: ComputeResult) => void) {
    this.#scheduler = scheduler;
    this.#post = post;
  }

  /** Whether any of them was computed. */
  get hasServed(): boolean {
    return this.#hasServed;
  }

  receive(message: RequestMessage & Attached): void {
    this.#sent.splice(0, message.attachedCount - this.#attachedCount);
    this.#attachedCount = message.attachedCount;
    switch (message.kind) {
      case "expect":
        this.#expected.set(message.id, this.#scheduler.expect(message.modelName));
        break;
      case "expect no more":
        this.#expected.get(message.id)![Symbol.dispose]();
        this.#expected.delete(message.id);
        break;
      case "compute":
        void this.#compute(message);
        break;
      case "abort":
        this.#submitted.get(message.id)?.abort(clientGone());
    }
  }

  async #compute({ id, request, handle }: RequestMessage & { kind: "compute" }): Promise<void> {
    const aborting = new AbortController();
    this.#submitted.set(id, aborting);
    try {
      const memory = AllocatedMemory.attach(handle);
      const computed = await this.#scheduler.compute(request, memory, aborting.signal);
      if (this.#isDisposed) computed.free();
      else this.#send(id, computed.detach());
    } catch (error) {
      const { status, message, headers } = httpErrorOf(error);
      this.#post({ kind: "failed", id, error: { status, message, headers } });
    } finally {
      this.#submitted.delete(id);
    }
  }

  #send(id: number, handle: MemoryHandle): void {
    this.#sent.push(handle);
    this.#hasServed = true;
    this.#post({ kind: "computed", id, handle });
  }

  [Symbol.dispose](): void {
    this.#isDisposed = true;
    for (const expected of this.#expected.values()) expected[Symbol.dispose]();
    for (const aborting of this.#submitted.values()) {
      aborting.abort(clientGone());
    }
    for (const handle of this.#sent) freeDetached(handle);
  }
}
