/** How long a tenant that asks for nothing more counts as one of those who share. */
const activeMilliseconds = 10;

/** What a request costs beside its bytes, in bytes that take as long. */
const requestByteSize = 512;

/** No request counts for more: what is larger comes over the network piece by piece. */
const countedByteSizeMax = 256 * 1024;

interface Waiter {
  byteSize: number;
  begin(): void;
}

/** What one tenant has begun, and has still to begin. */
class Pace {
  /** Bytes that may still begin in this millisecond; less than 0 where too many have. */
  allowance: number;
  lastAsked = performance.now();
  readonly waiting = new Set<Waiter>();

  constructor(allowance: number) {
    this.allowance = allowance;
  }
}

/**
 * Keeps the many requests of one tenant from taking all the time of the event loop. While several tenants
 * have requests, each begins no more than so many bytes of them in a millisecond, and the rest waits. One
 * that is alone does not.
 *
 * A limit on how many requests a tenant has at once would not do: one that answers fast is as busy with
 * one client that never pauses as with ten.
 */
export class FairPace {
  readonly #byteSizePerMillisecond: number;
  readonly #paces = new Map<string, Pace>();
  #isTicking = false;

  constructor(byteSizePerMillisecond: number) {
    this.#byteSizePerMillisecond = byteSizePerMillisecond;
  }

  /**
   * Resolves when a request of a tenant may begin: for those of one tenant in the order of asking.
   *
   * @throws the signal's reason.
   */
  async begin(tenant: string, byteSize: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const pace = this.#paceOf(tenant);
    const counted = requestByteSize + Math.min(byteSize, countedByteSizeMax);
    pace.lastAsked = performance.now();
    if (!this.#isTicking) this.#tickLater();
    if (pace.waiting.size === 0 && this.#mayBegin(pace)) pace.allowance -= counted;
    else await this.#turn(pace, counted, signal);
  }

  #paceOf(tenant: string): Pace {
    const known = this.#paces.get(tenant);
    if (known !== undefined) return known;
    const pace = new Pace(this.#byteSizePerMillisecond);
    this.#paces.set(tenant, pace);
    return pace;
  }

  #mayBegin(pace: Pace): boolean {
    return pace.allowance > 0 || this.#paces.size === 1;
  }

  async #turn(pace: Pace, byteSize: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = { byteSize, begin: resolve };
    const leave = () => {
      if (pace.waiting.delete(waiter)) reject(signal.reason);
    };
    pace.waiting.add(waiter);
    signal.addEventListener("abort", leave);
    try {
      await promise;
    } finally {
      signal.removeEventListener("abort", leave);
    }
  }

  #tickLater(): void {
    this.#isTicking = true;
    setTimeout(() => this.#tick(), 1);
  }

  /** A millisecond, or more, is over. */
  #tick(): void {
    const now = performance.now();
    const max = this.#byteSizePerMillisecond;
    for (const [tenant, pace] of this.#paces) {
      pace.allowance = Math.min(max, pace.allowance + max);
      for (const waiter of pace.waiting) {
        if (!this.#mayBegin(pace)) break;
        pace.waiting.delete(waiter);
        pace.allowance -= waiter.byteSize;
        waiter.begin();
      }
      const isActive = pace.waiting.size > 0 || now - pace.lastAsked < activeMilliseconds;
      if (!isActive) this.#paces.delete(tenant);
    }
    this.#isTicking = false;
    if (this.#paces.size > 0) this.#tickLater();
  }
}
