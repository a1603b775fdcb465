import type { AllocatedMemory, MemoryType } from "bun-cuda-memory";

/**
 * A tensor's memory, which several readers share. Whoever replaces or deletes the tensor retires
 * it; the memory goes back when the last reader is done, so readers finish with the old bytes.
 */
export class StoredTensor {
  readonly memory: AllocatedMemory;
  readonly #freed = Promise.withResolvers<void>();
  #readerCount = 0;
  #isRetired = false;

  constructor(memory: AllocatedMemory) {
    this.memory = memory;
  }

  /** Resolved when the memory has gone back. */
  get freed(): Promise<void> {
    return this.#freed.promise;
  }

  /** Keeps the memory until the disposable that is returned is disposed of (once or more). */
  read(): Disposable {
    this.#readerCount++;
    let isReading = true;
    return {
      [Symbol.dispose]: () => {
        if (!isReading) return;
        isReading = false;
        this.#readerCount--;
        this.#freeIfUnused();
      },
    };
  }

  retire(): void {
    this.#isRetired = true;
    this.#freeIfUnused();
  }

  #freeIfUnused(): void {
    if (!this.#isRetired || this.#readerCount > 0) return;
    this.memory.free();
    this.#freed.resolve();
  }
}

/** Number and bytes of tensors. */
export interface TensorTotals {
  count: number;
  byteSize: number;
}

/** All tensors, and those in each kind of memory. */
export interface TensorStats extends TensorTotals {
  byMemoryType: Record<MemoryType, TensorTotals>;
}

/** Tensors by name. */
export class TensorStore {
  readonly #tensors = new Map<string, StoredTensor>();
  /** Those that are retired and still read among them. */
  readonly #unfreed = new Set<StoredTensor>();

  get(name: string): StoredTensor | undefined {
    return this.#tensors.get(name);
  }

  /** Takes the memory over. Returns whether the name is new; otherwise the old tensor retires. */
  set(name: string, memory: AllocatedMemory): boolean {
    const isNew = !this.delete(name);
    const tensor = new StoredTensor(memory);
    this.#tensors.set(name, tensor);
    this.#unfreed.add(tensor);
    void tensor.freed.then(() => this.#unfreed.delete(tensor));
    return isNew;
  }

  /** Returns whether there was such a tensor. */
  delete(name: string): boolean {
    this.#tensors.get(name)?.retire();
    return this.#tensors.delete(name);
  }

  /** Deletes all, and waits for the last reader. */
  async clear(): Promise<void> {
    for (const name of this.#tensors.keys()) this.delete(name);
    await Promise.all([...this.#unfreed].map(({ freed }) => freed));
  }

  stats(): TensorStats {
    const none = () => ({ count: 0, byteSize: 0 });
    const byMemoryType = { GPU: none(), CPU_PINNED: none(), CPU: none() };
    const stats: TensorStats = { ...none(), byMemoryType };
    for (const { memory } of this.#tensors.values()) {
      for (const totals of [stats, byMemoryType[memory.memoryType]]) {
        totals.count++;
        totals.byteSize += memory.totalByteSize;
      }
    }
    return stats;
  }
}
