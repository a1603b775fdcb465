import { AllocatedMemory, MemoryError } from "bun-cuda-memory";
import type { Model } from "./engine/engine.ts";
import { busy, HttpError } from "./http-error.ts";
import type { Tenant } from "./tenants.ts";

/** When a request is refused for want of memory. */
export interface AdmissionLimits {
  /** How long it may wait for others' memory. */
  waitMilliseconds: number;
  /** How many may wait; one more is refused at once. */
  waitingCountMax: number;
}

/**
 * Lets requests in as there is memory for them: in the order of their coming, but for those of a
 * tenant that has reached its own limit, which hold up nobody else's.
 */
export class Admission {
  readonly #limits: AdmissionLimits;
  #waitingCount = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /**
   * Memory for all tensors of a request.
   *
   * @param signal Aborted when the client goes.
   * @throws {HttpError} 503 where there is no room, 413 where there can never be.
   */
  async admit(
    byteSize: number,
    { memoryType, memoryTypeId }: Model,
    { name, account }: Tenant,
    signal: AbortSignal,
  ): Promise<AllocatedMemory> {
    if (this.#waitingCount >= this.#limits.waitingCountMax) throw busy("too many requests wait");
    const noRoom = () => busy(`there is no memory for ${byteSize} bytes of ${name}`);
    const timeout = AbortSignal.timeout(this.#limits.waitMilliseconds);
    this.#waitingCount++;
    try {
      const memory = await AllocatedMemory.allocate(byteSize, memoryType, memoryTypeId, {
        account,
        signal: AbortSignal.any([signal, timeout]),
      });
      if (memory.totalByteSize < byteSize) throw noRoom(); // the host itself has none
      return memory;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (timeout.aborted) throw noRoom();
      if (!(error instanceof MemoryError) || error.code !== "OUT_OF_MEMORY") throw error;
      // Memory of the host's heap is not waited for; all other could never serve the request.
      if (memoryType === "CPU" && byteSize <= account.limitByteSize) throw noRoom();
      throw new HttpError(413, `${byteSize} bytes are more than ${name} can ever have`);
    } finally {
      this.#waitingCount--;
    }
  }
}
