import type { HeldMemory } from "../held-memory.ts";
import { checkBytes } from "../model.ts";
import { RangeSet } from "../range-set.ts";
import type { StormThread } from "../thread.ts";
import type { Operation } from "./operation.ts";

/** A memory, and where the thread has it. */
export interface DrawnMemory {
  readonly held: HeldMemory;
  readonly place: number;
}

/** Draws a memory, and names it. */
export function drawMemory(thread: StormThread): DrawnMemory | null {
  const place = thread.memories.draw(thread.random, true);
  return place < 0 ? null : { held: thread.memories.at(place)!, place };
}

export const write: Operation = {
  name: "write",
  weight: 10,
  run: (thread) => {
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const { held, place } = drawn;
    const range = thread.random.range(held.model.byteSize);
    const content = thread.newContent(range.end - range.begin);
    thread.begin(`m${place}.write(${content.bytes.byteLength} bytes, ${range.begin})`);
    if (held.isLent) return;
    const { error } = thread.attempt(thread.codesFor(held), [held], () =>
      held.memory.write(content.bytes, range.begin),
    );
    if (error === null) held.model.write(range.begin, content, null);
    else held.model.forget(range);
  },
};

/** The main look at bytes: whole memories, or parts of them. */
export const read: Operation = {
  name: "read",
  weight: 14,
  run: (thread) => {
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const { held, place } = drawn;
    const range = thread.random.range(held.model.byteSize);
    const target = new Uint8Array(range.end - range.begin);
    thread.begin(`m${place}.read(${target.byteLength} bytes, ${range.begin})`);
    const { error } = thread.attempt(thread.codesFor(held), [held], () =>
      held.memory.read(target, range.begin),
    );
    if (error !== null) return;
    checkBytes(`${held.name} from ${range.begin} on`, target, held.model.content(range, null));
  },
};

export const fill: Operation = {
  name: "fill",
  weight: 3,
  run: (thread) => {
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const { held, place } = drawn;
    const byte = thread.random.below(256);
    thread.begin(`m${place}.fill(${byte})`);
    if (held.isLent) return;
    const { error } = thread.attempt(thread.codesFor(held), [held], () => held.memory.fill(byte));
    const { byteSize } = held.model;
    const bytes = new Uint8Array(byteSize).fill(byte);
    if (error === null) held.model.write(0, { bytes, unknown: new RangeSet() }, null);
    else held.model.forget({ begin: 0, end: byteSize });
  },
};

/** Looks at all bytes of a memory. */
export function checkAll(thread: StormThread, held: HeldMemory): void {
  const target = new Uint8Array(held.model.byteSize);
  const { error } = thread.attempt(thread.codesFor(held), [held], () => held.memory.read(target));
  const range = { begin: 0, end: held.model.byteSize };
  if (error === null) checkBytes(held.name, target, held.model.content(range, null));
}

/** What must be refused before a byte moves. */
export const badArguments: Operation = {
  name: "bad-arguments",
  weight: 2,
  run: (thread) => {
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const { held, place } = drawn;
    const { byteSize } = held.model;
    const bytes = new Uint8Array(2);
    const calls: readonly (() => void)[] = [
      () => held.memory.write(bytes, byteSize - 1),
      () => held.memory.read(bytes, byteSize - 1),
      () => held.memory.write(bytes, -1),
      () => held.memory.read(bytes, 0.5),
      () => held.memory.fill(256),
      () => held.memory.write(new Uint8Array(byteSize + 1)),
    ];
    const which = thread.random.below(calls.length);
    thread.begin(`m${place}: bad arguments ${which}`);
    thread.refused(["INVALID_ARG"], [held], calls[which]!);
  },
};
