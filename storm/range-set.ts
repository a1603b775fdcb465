/** Bytes from `begin` to before `end`. */
export interface Range {
  readonly begin: number;
  readonly end: number;
}

/** A set of bytes, as ranges in order that neither meet nor overlap. */
export class RangeSet {
  #ranges: readonly Range[];

  constructor(ranges: readonly Range[] = []) {
    this.#ranges = ranges;
  }

  get ranges(): readonly Range[] {
    return this.#ranges;
  }

  add({ begin, end }: Range): void {
    if (begin >= end) return;
    const apart = this.#ranges.filter((range) => range.end < begin || range.begin > end);
    const merged = this.#ranges.filter((range) => !apart.includes(range));
    const whole = {
      begin: Math.min(begin, ...merged.map((range) => range.begin)),
      end: Math.max(end, ...merged.map((range) => range.end)),
    };
    this.#ranges = [...apart, whole].sort((one, other) => one.begin - other.begin);
  }

  remove({ begin, end }: Range): void {
    this.#ranges = this.#ranges.flatMap((range) =>
      [
        { begin: range.begin, end: Math.min(range.end, begin) },
        { begin: Math.max(range.begin, end), end: range.end },
      ].filter((part) => part.begin < part.end),
    );
  }

  /** The part of the set that lies in a range. */
  within({ begin, end }: Range): Range[] {
    return this.#ranges
      .map((range) => ({ begin: Math.max(range.begin, begin), end: Math.min(range.end, end) }))
      .filter((part) => part.begin < part.end);
  }

  /** The part of a range that is not in the set. */
  outside(range: Range): Range[] {
    const rest = new RangeSet([range]);
    for (const part of this.#ranges) rest.remove(part);
    return range.begin < range.end ? [...rest.ranges] : [];
  }

  copy(): RangeSet {
    return new RangeSet(this.#ranges);
  }
}
