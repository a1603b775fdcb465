import { copyBuffer } from "bun-cuda-memory";
import { HeldView } from "../held-memory.ts";
import type { HeldPart } from "../held-part.ts";
import { checkBytes } from "../model.ts";
import type { StormThread } from "../thread.ts";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";

// Parts of memories, which share their bytes, and what becomes of them when the whole is freed.

function isOver({ held, parent, isFreed }: HeldPart): boolean {
  return held.isFreed || isFreed || (parent !== null && isOver(parent));
}

/** Calls the package with a part, which it must refuse once the part or its memory has gone. */
function didOnPart(thread: StormThread, part: HeldPart, call: () => unknown): boolean {
  const { held } = part;
  if (isOver(part)) {
    thread.refused(["UNAVAILABLE"], [], call);
    return false;
  }
  return thread.attempt(thread.codesFor(held), [held], call).error === null;
}

/** Draws a place for a part, and notes what is done with it: whether there is one follows from no seed. */
function drawPart(thread: StormThread, what: string): HeldPart | null {
  const place = thread.random.below(thread.parts.count);
  thread.begin(`${what} part ${place}`);
  return thread.parts.at(place);
}

/** An index, which may be counted from the end. */
function drawIndex(thread: StormThread, index: number, byteSize: number): number {
  return index > 0 && index < byteSize && thread.random.chance(0.3) ? index - byteSize : index;
}

/** Keeps a part of a memory, or of a part that was kept, in place of another. */
export const subarray: Operation = {
  name: "subarray",
  weight: 6,
  run: (thread) => {
    const { random } = thread;
    const place = random.below(thread.parts.count);
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const from = random.chance(0.5) ? random.below(thread.parts.count) : -1;
    thread.begin(`part ${place} = ${from < 0 ? `m${drawn.place}` : `part ${from}`}.subarray()`);
    const parent = from < 0 ? null : thread.parts.at(from);
    if (parent !== null && isOver(parent)) {
      return thread.refused(["UNAVAILABLE"], [], () => parent.part.subarray());
    }
    const { held } = parent ?? drawn;
    const whole = parent?.range ?? { begin: 0, end: held.model.byteSize };
    const byteSize = whole.end - whole.begin;
    const { begin, end } = random.range(byteSize);
    const indices = [drawIndex(thread, begin, byteSize), drawIndex(thread, end, byteSize)] as const;
    const { value: part } = thread.attempt([], [], () =>
      (parent?.part ?? held.memory).subarray(...indices),
    );
    const range = { begin: whole.begin + begin, end: whole.begin + end };
    thread.parts.set(place, { held, part: part!, parent, range, isFreed: false });
  },
};

export const partRead: Operation = {
  name: "part-read",
  weight: 7,
  run: (thread) => {
    const part = drawPart(thread, "read");
    if (part === null) return;
    const { held, range } = part;
    const target = new Uint8Array(range.end - range.begin);
    if (!didOnPart(thread, part, () => part.part.read(target))) return;
    const name = `${held.name} from ${range.begin} on, by a part`;
    checkBytes(name, target, held.model.content(range, null));
  },
};

/** Writes to a part, or fills it. */
export const partWrite: Operation = {
  name: "part-write",
  weight: 6,
  run: (thread) => {
    const isFilled = thread.random.chance(0.3);
    const part = drawPart(thread, isFilled ? "fill" : "write to");
    if (part === null || part.held.isLent) return;
    const { held, range } = part;
    const content = thread.newContent(range.end - range.begin);
    const byte = thread.random.below(256);
    if (isFilled) content.bytes.fill(byte);
    const call = () => (isFilled ? part.part.fill(byte) : part.part.write(content.bytes));
    if (didOnPart(thread, part, call)) held.model.write(range.begin, content, null);
    else if (!isOver(part)) held.model.forget(range);
  },
};

/** Keeps a view of a part. */
export const partView: Operation = {
  name: "part-view",
  weight: 2,
  run: (thread) => {
    const place = thread.random.below(thread.views.count);
    const part = drawPart(thread, `v${place} = bytes of`);
    if (part === null) return;
    const { held, range } = part;
    if (!isOver(part) && held.isOnGpu) {
      return thread.refused(["UNSUPPORTED"], [held], () => part.part.bytes);
    }
    if (held.isLent) return;
    let bytes: Uint8Array | null = null;
    if (!didOnPart(thread, part, () => (bytes = part.part.bytes))) return;
    thread.views.set(place, new HeldView(held, bytes!, range.begin));
  },
};

/** Ends the use of a part, and of nothing else. */
export const partFree: Operation = {
  name: "part-free",
  weight: 1,
  run: (thread) => {
    const part = drawPart(thread, "free");
    if (part === null) return;
    thread.attempt([], [], () => part.part.free());
    part.isFreed = true;
  },
};

/** Copies from one part of a memory to another one of it. */
export const copyWithin: Operation = {
  name: "copy-within",
  weight: 4,
  run: (thread) => {
    const { random } = thread;
    const drawn = drawMemory(thread);
    const streamPlace = random.chance(0.5) ? thread.streams.draw(random, true) : -1;
    if (drawn === null) return;
    const { held, place } = drawn;
    const byteSize = random.byteSize(1, held.model.byteSize);
    const one = random.between(0, held.model.byteSize - byteSize);
    const other = random.between(0, held.model.byteSize - byteSize);
    const how = streamPlace < 0 ? "" : `, stream ${streamPlace}`;
    thread.begin(`copy ${byteSize} bytes of m${place} from ${one} to ${other}${how}`);
    if (held.isLent) return;
    const stream = streamPlace < 0 ? null : thread.streams.at(streamPlace)!;
    const source = held.memory.subarray(one, one + byteSize);
    const target = held.memory.subarray(other);
    const copy = () => copyBuffer(target, source, { stream: stream?.stream });
    if (Math.abs(one - other) < byteSize) {
      return thread.refused(["INVALID_ARG"], [held], copy);
    }
    const { value: isQueued, error } = thread.attempt(thread.codesFor(held), [held], copy);
    if (error !== null) return held.model.forget({ begin: other, end: other + byteSize });
    const queue = isQueued ? stream!.queue : null;
    const content = held.model.read({ begin: one, end: one + byteSize }, queue);
    held.model.write(other, content, queue);
  },
};

/** Parts that there cannot be. */
export const wrongPart: Operation = {
  name: "wrong-part",
  weight: 0.5,
  run: (thread) => {
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const { byteSize } = drawn.held.model;
    const indices = thread.random.pick([[byteSize + 1], [0, byteSize + 1], [-byteSize - 1], [0.5]]);
    thread.begin(`m${drawn.place}.subarray(${indices.join()})`);
    const [begin, end] = indices;
    thread.refused(["INVALID_ARG"], [], () => drawn.held.memory.subarray(begin, end));
  },
};
