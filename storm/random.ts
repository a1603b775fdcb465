import { logUniformByteSize, randomNumbers } from "../harness/workloads/random.ts";

/** Mixes numbers into a seed: each list of numbers gives another one, and always the same. */
export function seedOf(...numbers: readonly number[]): number {
  return Bun.hash.xxHash32(numbers.join("/"));
}

/** What is drawn in the storm, all of which follows from a seed. */
export class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = randomNumbers(seed);
  }

  /** A whole number from 0 to below a limit. */
  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  /** A whole number from one to another, both included. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** Whether something happens that does so in `share` of all cases. */
  chance(share: number): boolean {
    return this.#next() < share;
  }

  /** One of several values. */
  pick<Value>(values: readonly Value[]): Value {
    return values[this.below(values.length)]!;
  }

  /** A size, as likely between 1 and 2 KiB as between 1 and 2 MiB. */
  byteSize(min: number, max: number): number {
    return logUniformByteSize(this.#next, min, max + 1);
  }

  /** A part of so many bytes, which is not empty; often all of them, or one of its two ends. */
  range(byteSize: number): { begin: number; end: number } {
    const length = this.chance(0.3) ? byteSize : this.byteSize(1, byteSize);
    const last = byteSize - length;
    const begin = this.pick([0, last, this.between(0, last), this.between(0, last)]);
    return { begin, end: begin + length };
  }
}
