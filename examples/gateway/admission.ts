import { AllocatedMemory, MemoryError } from "bun-cuda-memory";
import { Deadline } from "./deadline.ts";
import type { Place } from "./engine/engine.ts";
import { FairPace } from "./fair-pace.ts";
import { busy, HttpError } from "./http-error.ts";
import type { Tenant } from "./tenants.ts";

/** When a request is refused for want of memory. */
export interface AdmissionLimits {
  /** How long it may wait for others' memory. */
  waitMilliseconds: number;
  /** How many of a tenant may wait; one more is refused at once. */
  waitingCountMax: number;
  /** Bytes that each tenant may begin in a millisecond while several have requests. */
  sharedByteSizePerMillisecond: number;
}

/**
 * Lets requests in as there is memory for them: in the order of their coming, but for those of a
 * tenant that has reached its own limit, or that has more than its share, which hold up nobody else's.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #pace: FairPace;
  readonly #waitingCounts = new Map<string, number>();

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
    this.#pace = new FairPace(limits.sharedByteSizePerMillisecond);
  }

  /**
   * Memory for all tensors of a request.
   *
   * @param signal Aborted when the client goes.
   * @throws {HttpError} 503 where there is no room, 413 where there can never be.
   */
  async admit(
    byteSize: number,
    { memoryType, memoryTypeId }: Place,
    { name, account }: Tenant,
    signal: AbortSignal,
  ): Promise<AllocatedMemory> {
    const noRoom = () => busy(`there is no memory for ${byteSize} bytes of ${name}`);
    let hasBegun = false;
    using deadline = new Deadline(this.#limits.waitMilliseconds, signal);
    using _waiting = this.#wait(name);
    try {
      await this.#pace.begin(name, byteSize, deadline.signal);
      hasBegun = true;
      const memory = await AllocatedMemory.allocate(byteSize, memoryType, memoryTypeId, {
        account,
        signal: deadline.signal,
      });
      if (memory.totalByteSize < byteSize) throw noRoom(); // the host itself has none
      return memory;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (deadline.hasPassed) throw hasBegun ? noRoom() : busy(`${name} has too many requests`);
      if (!(error instanceof MemoryError) || error.code !== "OUT_OF_MEMORY") throw error;
      // Memory of the host's heap is not waited for; all other could never serve the request.
      if (memoryType === "CPU" && byteSize <= account.limitByteSize) throw noRoom();
      throw new HttpError(413, `${byteSize} bytes are more than ${name} can ever have`);
    }
  }

  /** Counts a request of a tenant that waits, until the disposable is disposed of. */
  #wait(tenant: string): Disposable {
    const count = this.#waitingCounts.get(tenant) ?? 0;
    if (count >= this.#limits.waitingCountMax) throw busy(`too many requests of ${tenant} wait`);
    this.#waitingCounts.set(tenant, count + 1);
    const leave = () => this.#waitingCounts.set(tenant, this.#waitingCounts.get(tenant)! - 1);
    return { [Symbol.dispose]: () => void leave() };
  }
}
