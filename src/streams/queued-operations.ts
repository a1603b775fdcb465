import { type NativeStream, StreamEvent } from "../native/stream.ts";

/** Something that was queued on a stream and is not known to be done. */
export interface QueuedOperation {
  /** Names the operation in an error's message. */
  readonly description: string;
  /** The memories that the operation works on, which must not be garbage collected before. */
  readonly memories: readonly object[];
}

/** How many operations an error's message names. */
const namedCountMax = 4;

/** A point in the stream's work, and the last operation before it. */
interface Mark {
  readonly lastNumber: number;
  readonly event: StreamEvent;
}

/** An operation that was taken back leaves this in its place. */
const nothing: QueuedOperation = { description: "", memories: [] };

/**
 * The operations that were queued on a stream, in their order, each until it is known to be over: what
 * they work on lives as long. They have numbers from 1 on.
 *
 * Nobody may ever ask whether the stream is done. So it is marked now and then, and a new mark has the
 * first ones looked at: what is remembered is what is under way, and a few hundred more.
 */
export class QueuedOperations {
  readonly #operationCountOfMark: number;
  #operations: (QueuedOperation | undefined)[] = [];
  /** The index of the first operation that is not forgotten. */
  #start = 0;
  #forgottenCount = 0;
  #takenBackCount = 0;
  #marks: (Mark | undefined)[] = [];
  /** The index of the first mark that is not forgotten. */
  #markStart = 0;
  #lastMark = 0;

  /** @param operationCountOfMark After so many operations the stream is marked. */
  constructor(operationCountOfMark: number) {
    this.#operationCountOfMark = operationCountOfMark;
  }

  /** How many operations are remembered. */
  get count(): number {
    return this.#operations.length - this.#start - this.#takenBackCount;
  }

  /** The number of the operation that was added last. */
  get lastNumber(): number {
    return this.#forgottenCount + this.#operations.length - this.#start;
  }

  /** Adds an operation, and returns its number. */
  add(operation: QueuedOperation): number {
    this.#operations.push(operation);
    return this.lastNumber;
  }

  /** Takes an operation back that was not queued after all, or is over. A second call does nothing. */
  takeBack(number: number): void {
    if (number <= this.#forgottenCount) return;
    const index = this.#start + number - this.#forgottenCount - 1;
    if (this.#operations[index] === nothing) return;
    this.#operations[index] = nothing;
    this.#takenBackCount++;
    if (this.count === 0) this.forget(this.lastNumber);
  }

  /** Forgets the operations up to a number, which are over. */
  forget(lastNumber: number): void {
    while (this.#forgottenCount < lastNumber && this.#start < this.#operations.length) {
      if (this.#operations[this.#start] === nothing) this.#takenBackCount--;
      this.#operations[this.#start++] = undefined;
      this.#forgottenCount++;
    }
    if (this.#start > this.#operations.length / 2) {
      this.#operations = this.#operations.slice(this.#start);
      this.#start = 0;
    }
    this.#forgetMarks(lastNumber);
  }

  #forgetMarks(lastNumber: number): void {
    for (let mark; (mark = this.#marks[this.#markStart]) !== undefined; this.#markStart++) {
      if (mark.lastNumber > lastNumber) break;
      mark.event[Symbol.dispose]();
      this.#marks[this.#markStart] = undefined;
    }
    if (this.#markStart > this.#marks.length / 2) {
      this.#marks = this.#marks.slice(this.#markStart);
      this.#markStart = 0;
    }
  }

  /** Whether all that is remembered is before a mark: {@link forgetMarked} will forget it. */
  get isMarked(): boolean {
    const lastNumber = this.#marks.at(-1)?.lastNumber ?? this.#forgottenCount;
    const unmarked = this.#operations.slice(this.#start + lastNumber - this.#forgottenCount);
    return unmarked.every((operation) => operation === nothing);
  }

  /**
   * Marks the stream if that is due, and forgets what is over. An error of the work counts as the
   * stream's.
   *
   * @throws {MemoryError} `INTERNAL` where CUDA refuses.
   */
  mark(stream: NativeStream): void {
    if (this.lastNumber - this.#lastMark < this.#operationCountOfMark) return;
    this.#lastMark = this.lastNumber;
    this.forgetMarked();
    this.#marks.push({ lastNumber: this.lastNumber, event: new StreamEvent(stream) });
  }

  /** Forgets the operations that are over by what the marks tell. */
  forgetMarked(): void {
    let lastNumber = 0;
    for (let index = this.#markStart; this.#marks[index]?.event.isOver(); index++) {
      ({ lastNumber } = this.#marks[index]!);
    }
    if (lastNumber > 0) this.forget(lastNumber);
  }

  /** Whether all up to the last mark is over. The mark stays, and what it tells of errors. */
  get isOverAtLastMark(): boolean {
    return this.#marks.at(-1)?.event.isOver() ?? true;
  }

  /** Names the last operations up to a number, or says nothing where there are none. */
  namesUpTo(lastNumber: number): string {
    const names: string[] = [];
    let index = this.#start + lastNumber - this.#forgottenCount - 1;
    for (; index >= this.#start && names.length <= namedCountMax; index--) {
      const operation = this.#operations[index]!;
      if (operation !== nothing) names.unshift(operation.description);
    }
    if (names.length > namedCountMax) names[0] = "...";
    return names.join(", ");
  }
}
