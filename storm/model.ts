import { StormFailure } from "./failure.ts";
import { describeBytes } from "./pattern.ts";
import { type Range, RangeSet } from "./range-set.ts";

// What is known of the bytes of memory while several queues work on it.
//
// A write takes effect in the model when it is asked for, and its bytes are not looked at before it
// is over. Where two that are not in order meet, and one of them writes, the result is in doubt: it
// is nobody's fault that the bytes are one's or the other's, so nothing is asked of them any more.

/** A part of a memory that a queue reads or writes. */
export interface Use extends Range {
  readonly model: ByteModel;
  readonly isWrite: boolean;
}

/** Bytes, of which some may not be known. */
export interface Content {
  readonly bytes: Uint8Array;
  /** Offsets in `bytes`. */
  readonly unknown: RangeSet;
}

/** What works on memory in its own time: a stream, or one transfer. */
export class Queue {
  readonly #uses: Use[] = [];
  /** The queues after whose work, as it is when this one is made, its own comes. */
  readonly #predecessors: ReadonlySet<Queue>;
  /** What other queues had to do when this one was made to wait for them, and whose it is. */
  readonly #awaited = new Map<Use, Queue>();
  readonly #dependents = new Set<Queue>();
  #isInDoubt = false;

  constructor(predecessors: readonly Queue[] = []) {
    this.#predecessors = new Set(predecessors);
    for (const queue of predecessors) {
      queue.#dependents.add(this);
      for (const [use, other] of queue.#awaited) this.#awaited.set(use, other);
    }
    this.#isInDoubt = predecessors.some((queue) => queue.isInDoubt);
  }

  /** Whether something has come in between that changes what this queue's work results in. */
  get isInDoubt(): boolean {
    return this.#isInDoubt;
  }

  /** What was queued last of what is not over; `undefined` where that is nothing. */
  get lastUse(): Use | undefined {
    return this.#uses.at(-1);
  }

  /** Whether what it is given next comes after a use that another queue was given before. */
  isAfter(use: Use, queue: Queue): boolean {
    return queue === this || this.#predecessors.has(queue) || this.#awaited.has(use);
  }

  /** Has what it is given from now on come after what another queue was given so far. */
  waitFor(queue: Queue): void {
    if (queue === this) return;
    for (const use of this.#awaited.keys()) if (!use.model.uses.has(use)) this.#awaited.delete(use);
    for (const [use, other] of queue.#awaited) if (other !== this) this.#awaited.set(use, other);
    for (const use of queue.#uses) this.#awaited.set(use, queue);
    queue.#dependents.add(this);
    if (queue.isInDoubt) this.doubt();
  }

  /** Also what is queued later may depend on what is in doubt, until all is done. */
  doubt(): void {
    if (this.#isInDoubt) return;
    this.#isInDoubt = true;
    for (const dependent of this.#dependents) dependent.doubt();
  }

  add(use: Use): void {
    this.#uses.push(use);
    use.model.uses.set(use, this);
  }

  /** Notes that some of the work may not have been done, which may still be under way. */
  fail(): void {
    this.doubt();
    for (const use of this.#uses) if (use.isWrite) use.model.unknown.add(use);
  }

  /** Notes that a use is over, and all that were queued before it; by default all there are. */
  finish(lastUse = this.lastUse): void {
    const useCount = lastUse === undefined ? 0 : this.#uses.indexOf(lastUse) + 1;
    for (const use of this.#uses.splice(0, useCount)) {
      use.model.uses.delete(use);
      if (use.isWrite && this.#isInDoubt) use.model.unknown.add(use);
    }
    if (this.#uses.length > 0) return;
    this.#isInDoubt = false;
    this.#dependents.clear();
  }

  /** Notes that all of it is over, and with it what it had to wait for. */
  finishAll(): void {
    for (const [use, queue] of this.#awaited) queue.finish(use);
    this.#awaited.clear();
    this.finish();
  }
}

/** What a memory has to show. */
export class ByteModel {
  readonly bytes: Uint8Array;
  readonly unknown: RangeSet;
  /** What is under way, and whose it is. */
  readonly uses = new Map<Use, Queue>();

  /** @param content What is in the memory; by default nothing is known. */
  constructor(byteSize: number, content?: Content) {
    this.bytes = content?.bytes ?? new Uint8Array(byteSize);
    this.unknown = content?.unknown ?? new RangeSet([{ begin: 0, end: byteSize }]);
  }

  get byteSize(): number {
    return this.bytes.byteLength;
  }

  /** The queues that use the memory. */
  get queues(): Set<Queue> {
    return new Set(this.uses.values());
  }

  /**
   * Notes a write.
   *
   * @param queue Whose work it is; `null` where it is over already.
   */
  write(begin: number, content: Content, queue: Queue | null): void {
    const range = { begin, end: begin + content.bytes.byteLength };
    for (const [, other] of this.#usesInTheWay(range, queue, true)) other.doubt();
    this.bytes.set(content.bytes, begin);
    this.unknown.remove(range);
    for (const part of content.unknown.ranges) {
      this.unknown.add({ begin: begin + part.begin, end: begin + part.end });
    }
    queue?.add({ ...range, model: this, isWrite: true });
  }

  /**
   * Notes a read.
   *
   * @param queue Whose work it is; `null` where it is over already.
   * @returns What has to be read, which is a copy.
   */
  read(range: Range, queue: Queue | null): Content {
    const content = this.content(range, queue);
    queue?.add({ ...range, model: this, isWrite: false });
    return content;
  }

  /** What a queue, or the thread itself, would find. */
  content(range: Range, queue: Queue | null): Content {
    const { begin, end } = range;
    const unknown = this.unknown.copy();
    for (const [use] of this.#usesInTheWay(range, queue, false)) unknown.add(use);
    const relative = unknown
      .within(range)
      .map((part) => ({ begin: part.begin - begin, end: part.end - begin }));
    return { bytes: this.bytes.slice(begin, end), unknown: new RangeSet(relative) };
  }

  /** Notes that bytes may be anything: writing them has failed. */
  forget(range: Range): void {
    for (const [, other] of this.#usesInTheWay(range, null, true)) other.doubt();
    this.unknown.add(range);
  }

  *#usesInTheWay(range: Range, queue: Queue | null, isWrite: boolean): Generator<[Use, Queue]> {
    for (const [use, other] of this.uses) {
      if (use.end <= range.begin || use.begin >= range.end) continue;
      if (queue?.isAfter(use, other)) continue;
      if (isWrite || use.isWrite) yield [use, other];
    }
  }
}

/**
 * Compares bytes with what has to be there.
 *
 * @param name Names the bytes in the failure.
 * @throws {StormFailure} At the first byte that is known and differs.
 */
export function checkBytes(name: string, seen: Uint8Array, { bytes, unknown }: Content): void {
  if (seen.byteLength !== bytes.byteLength) {
    throw new StormFailure(`${name} to have ${bytes.byteLength} bytes`, `${seen.byteLength}`);
  }
  for (const { begin, end } of unknown.outside({ begin: 0, end: bytes.byteLength })) {
    const wanted = bytes.subarray(begin, end);
    const got = seen.subarray(begin, end);
    if (Buffer.compare(wanted, got) === 0) continue;
    const at = begin + wanted.findIndex((byte, index) => byte !== got[index]);
    throw new StormFailure(
      `${name}, at byte ${at} of ${bytes.byteLength}: ${describeBytes(bytes, at)}`,
      describeBytes(seen, at),
    );
  }
}
