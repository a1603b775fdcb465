/**
 * A sequence of allocations and frees, as compact as a long trace needs: one number per event and
 * one per allocation.
 */
export interface AllocationEvents {
  /** What happens, in order: `index` allocates that allocation, `~index` (negative) frees it. */
  readonly events: Int32Array;
  /** Bytes of each allocation, above 0, in the order in which they are allocated. */
  readonly byteSizes: Float64Array;
}

/** Collects events one by one. */
export class AllocationEventsBuilder {
  readonly #events: number[] = [];
  readonly #byteSizes: number[] = [];

  /** Returns the allocation's index, which {@link free} wants. */
  allocate(byteSize: number): number {
    const index = this.#byteSizes.length;
    this.#byteSizes.push(byteSize);
    this.#events.push(index);
    return index;
  }

  free(index: number): void {
    this.#events.push(~index);
  }

  build(): AllocationEvents {
    return {
      events: Int32Array.from(this.#events),
      byteSizes: Float64Array.from(this.#byteSizes),
    };
  }
}

/** The unit in which the pools hand out memory. */
export const granuleByteSize = 512;

/** Bytes that an allocation takes in a pool. */
export function roundUpToGranule(byteSize: number): number {
  return Math.ceil(byteSize / granuleByteSize) * granuleByteSize;
}

/** The most bytes that are ever alive at once, each allocation rounded up as the pools do. */
export function peakLiveByteSize({ events, byteSizes }: AllocationEvents): number {
  let liveByteSize = 0;
  let peakByteSize = 0;
  for (const event of events) {
    if (event < 0) {
      liveByteSize -= roundUpToGranule(byteSizes[~event]!);
    } else {
      liveByteSize += roundUpToGranule(byteSizes[event]!);
      peakByteSize = Math.max(peakByteSize, liveByteSize);
    }
  }
  return peakByteSize;
}
