// A simple model of a pool, and a checker that compares a real pool with it after every call. The
// model does not say where a pool must put a block, only what must hold wherever it is.

import type { Pointer } from "bun:ffi";
import {
  MemoryError,
  type MemoryErrorCode,
  pointerAttributes,
  type PoolStats,
} from "../../src/index.ts";
import { pointerPlus } from "../support/values.ts";

export const granuleByteSize = 512;

/** The calls of a manager that has one pool, which begins empty. */
export interface PoolCalls {
  readonly name: string;
  create(byteSize: number): void;
  alloc(byteSize: number): Pointer;
  free(pointer: Pointer): void;
  stats(): PoolStats;
}

/** One step of a sequence. A `pick` chooses among the blocks that exist by then. */
export type Step =
  | { call: "alloc"; byteSize: number }
  | { call: "allocAlike"; pick: number }
  | { call: "allocLargest" }
  | { call: "free"; pick: number }
  | { call: "freeWrong"; wrong: WrongFree; pick: number };

/** Addresses at which no live block starts. */
export const wrongFrees = [
  "freed already",
  "inside a block",
  "in a gap",
  "misaligned",
  "below the pool",
  "at the end of the pool",
  "far away",
] as const;
export type WrongFree = (typeof wrongFrees)[number];

type Block = [granule: number, granuleCount: number];

/** Live blocks, in address order. */
class PoolModel {
  readonly blocks: Block[] = [];
  peak = 0;
  failedCount = 0;

  constructor(readonly granuleCount: number) {}

  get used(): number {
    return this.blocks.reduce((sum, [, count]) => sum + count, 0);
  }

  get gaps(): Block[] {
    const gaps: Block[] = [];
    let start = 0;
    for (const [granule, count] of [...this.blocks, [this.granuleCount, 0] as const]) {
      if (granule > start) gaps.push([start, granule - start]);
      start = granule + count;
    }
    return gaps;
  }

  get largestGap(): number {
    return Math.max(0, ...this.gaps.map(([, count]) => count));
  }

  add(granule: number, count: number): void {
    const gap = this.gaps.find(
      ([start, size]) => start <= granule && granule + count <= start + size,
    );
    if (gap === undefined) throw new Error(`${count} granules at ${granule} are not all free`);
    this.blocks.push([granule, count]);
    this.blocks.sort(([a], [b]) => a - b);
    this.peak = Math.max(this.peak, this.used);
  }

  stats(): PoolStats {
    const { used } = this;
    return {
      capacityByteSize: this.granuleCount * granuleByteSize,
      usedByteSize: used * granuleByteSize,
      peakUsedByteSize: this.peak * granuleByteSize,
      freeByteSize: (this.granuleCount - used) * granuleByteSize,
      largestFreeByteSize: this.largestGap * granuleByteSize,
      allocationCount: this.blocks.length,
      failedAllocationCount: this.failedCount,
      setAsideByteSize: 0,
      detachedByteSize: 0,
      waitingCount: 0,
    };
  }
}

/** The outcome of a call: its result, or the code of the error that it threw. */
function outcomeOf<Result>(call: () => Result): { result: Result } | { code: MemoryErrorCode } {
  try {
    return { result: call() };
  } catch (error) {
    if (error instanceof MemoryError) return { code: error.code };
    throw error;
  }
}

/**
 * The lowest address of a pool, given one of its blocks: CUDA knows a pool's reservation from all
 * other memory. Blocks are at multiples of the granule, so the pool begins at one.
 */
function baseOf(pointer: Pointer, granuleCount: number): Pointer {
  const { type } = pointerAttributes(pointer);
  let inside = 0;
  let outside = granuleCount; // granules below the block
  while (outside - inside > 1) {
    const middle = Math.floor((inside + outside) / 2);
    const below = pointerPlus(pointer, -middle * granuleByteSize);
    if (pointerAttributes(below).type === type) inside = middle;
    else outside = middle;
  }
  return pointerPlus(pointer, -inside * granuleByteSize);
}

/** A real pool and its model. Every call is made to both, and then they must agree. */
export class CheckedPool {
  readonly #pool: PoolCalls;
  readonly #model: PoolModel;
  readonly #freed: Pointer[] = [];
  readonly #calls: string[] = [];
  readonly #isWatched: boolean;
  #base: Pointer | undefined;

  /**
   * A watched pool's statistics are read after every call. Reading them may put a pool's lists in
   * an order that makes the next request easy, so pools are tested unwatched too.
   */
  constructor(pool: PoolCalls, granuleCount: number, isWatched: boolean) {
    this.#pool = pool;
    this.#isWatched = isWatched;
    this.#model = new PoolModel(granuleCount);
    pool.create(granuleCount * granuleByteSize);
    this.expectAgreement();
  }

  run(step: Step): void {
    switch (step.call) {
      case "alloc":
        return this.alloc(step.byteSize);
      case "allocAlike":
        return this.alloc(this.#alikeByteSize(step.pick));
      case "allocLargest":
        return this.alloc(Math.max(1, this.#model.largestGap) * granuleByteSize);
      case "free":
        return this.free(step.pick);
      case "freeWrong":
        return this.freeWrong(step.wrong, step.pick);
    }
  }

  alloc(byteSize: number): void {
    const model = this.#model;
    const count = Math.ceil(byteSize / granuleByteSize);
    const fits = count <= model.largestGap;
    const outcome = outcomeOf(() => this.#pool.alloc(byteSize));
    if ("code" in outcome) {
      this.#calls.push(`alloc(${byteSize}) threw ${outcome.code}`);
      if (fits) this.#fail(`${count} granules fit into a gap of ${model.largestGap}`);
      if (outcome.code !== "OUT_OF_MEMORY") this.#fail("the code of a full pool is OUT_OF_MEMORY");
      model.failedCount++;
    } else {
      const pointer = outcome.result;
      if (pointer % granuleByteSize !== 0) this.#fail(`0x${pointer.toString(16)} is misaligned`);
      this.#base ??= baseOf(pointer, model.granuleCount);
      const granule = (pointer - this.#base) / granuleByteSize;
      this.#calls.push(`alloc(${byteSize}) gave granules ${granule} to ${granule + count - 1}`);
      if (!fits) this.#fail(`${count} granules do not fit into a gap of ${model.largestGap}`);
      try {
        model.add(granule, count);
      } catch (error) {
        this.#fail((error as Error).message);
      }
    }
    if (this.#isWatched) this.expectAgreement();
  }

  /** Frees the `pick`th live block, modulo their number; does nothing where there is none. */
  free(pick: number): void {
    const { blocks } = this.#model;
    if (blocks.length === 0) return;
    const [[granule]] = blocks.splice(pick % blocks.length, 1) as [Block];
    const pointer = this.#at(granule);
    const outcome = outcomeOf(() => this.#pool.free(pointer));
    this.#calls.push(`free(granule ${granule})`);
    if ("code" in outcome) this.#fail(`freeing a live block threw ${outcome.code}`);
    this.#freed.push(pointer);
    if (this.#isWatched) this.expectAgreement();
  }

  /** Frees an address of this kind; does nothing where there is none. */
  freeWrong(wrong: WrongFree, pick: number): void {
    const pointer = this.#wrongAddress(wrong, pick);
    if (pointer === undefined) return;
    const outcome = outcomeOf(() => this.#pool.free(pointer));
    this.#calls.push(`free(0x${pointer.toString(16)}), which is ${wrong}`);
    if (!("code" in outcome)) this.#fail("a wrong free was accepted");
    else if (outcome.code !== "INVALID_ARG") this.#fail(`a wrong free threw ${outcome.code}`);
    if (this.#isWatched) this.expectAgreement();
  }

  /** Requests exactly the largest gap, which must succeed, and a granule more, which must fail. */
  probe(): void {
    const { largestGap, blocks } = this.#model;
    this.alloc((largestGap + 1) * granuleByteSize);
    if (largestGap === 0) return;
    const before = new Set(blocks.map(([granule]) => granule));
    this.alloc(largestGap * granuleByteSize);
    this.free(blocks.findIndex(([granule]) => !before.has(granule)));
  }

  freeAll(): void {
    while (this.#model.blocks.length > 0) this.free(0);
  }

  expectAgreement(): void {
    const expected = this.#model.stats();
    const actual = this.#pool.stats();
    for (const name of Object.keys(expected) as (keyof PoolStats)[]) {
      if (actual[name] === expected[name]) continue;
      this.#fail(`${name} is ${actual[name]} and must be ${expected[name]}`);
    }
  }

  /**
   * Nearly one size for the whole pool: whatever size classes a pool has, many free blocks fall
   * into one of them, and only some are enough for a request of that class.
   */
  #alikeByteSize(pick: number): number {
    const smallest = Math.ceil(this.#model.granuleCount / 40);
    return (smallest + (pick % (2 + Math.floor(smallest / 256)))) * granuleByteSize;
  }

  #at(granule: number): Pointer {
    return pointerPlus(this.#base!, granule * granuleByteSize);
  }

  #wrongAddress(wrong: WrongFree, pick: number): Pointer | undefined {
    const { blocks, gaps, granuleCount } = this.#model;
    if (this.#base === undefined) return undefined; // no request was served yet
    switch (wrong) {
      case "freed already": {
        const live = new Set<Pointer>(blocks.map(([granule]) => this.#at(granule)));
        const freed = this.#freed.filter((pointer) => !live.has(pointer));
        return freed[pick % freed.length];
      }
      case "inside a block": {
        const longer = blocks.filter(([, count]) => count > 1);
        if (longer.length === 0) return undefined;
        const [granule, count] = longer[pick % longer.length]!;
        return this.#at(granule + 1 + (pick % (count - 1)));
      }
      case "in a gap": {
        if (gaps.length === 0) return undefined;
        const [granule, count] = gaps[pick % gaps.length]!;
        return this.#at(granule + (pick % count));
      }
      case "misaligned": {
        const granule = blocks[pick % blocks.length]?.[0] ?? 0;
        return pointerPlus(this.#at(granule), 1 + (pick % (granuleByteSize - 1)));
      }
      case "below the pool":
        return this.#at(-1 - (pick % 3));
      case "at the end of the pool":
        return this.#at(granuleCount + (pick % 3));
      case "far away":
        return (granuleByteSize * (1 + pick)) as Pointer;
    }
  }

  /** Throws, with the calls that led here. */
  #fail(what: string): never {
    const shown = this.#calls.slice(-40);
    const omitted = this.#calls.length - shown.length;
    const before = omitted > 0 ? [`(${omitted} earlier calls)`] : [];
    throw new Error(
      [
        `${this.#pool.name}, ${this.#model.granuleCount} granules: ${what}; the calls were`,
        ...before,
        ...shown,
      ].join("\n  "),
    );
  }
}
