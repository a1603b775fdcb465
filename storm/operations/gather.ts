import { copyBuffer, MemoryReference, type MutableMemory } from "bun-cuda-memory";
import type { HeldMemory } from "../held-memory.ts";
import type { Content, Queue } from "../model.ts";
import { type Range, RangeSet } from "../range-set.ts";
import type { HeldStream, StormThread } from "../thread.ts";
import { checkAll, drawMemory, type DrawnMemory } from "./bytes.ts";
import { copyAnything } from "./copy.ts";
import type { Operation } from "./operation.ts";

// Copies of several buffers at once.

/** A buffer of a reference: a memory, a part of one, or JS memory. */
interface Piece {
  readonly buffer: MutableMemory | Uint8Array;
  readonly byteSize: number;
  /** Of what it has, in its own bytes. */
  readonly contentOf: (part: Range, queue: Queue | null) => Content;
  /** The memory that it is, or is a part of, and where the thread has that. */
  readonly drawn: DrawnMemory | null;
  readonly name: string;
}

const piecesMax = 5;

function drawJsPiece(thread: StormThread): Piece {
  const byteSize = thread.random.byteSize(1, thread.random.pick([4096, 4096, 4096, 200_000]));
  const buffer = thread.newPattern(byteSize);
  const contentOf = ({ begin, end }: Range) => ({
    bytes: buffer.slice(begin, end),
    unknown: new RangeSet(),
  });
  return { buffer, byteSize, contentOf, drawn: null, name: `${byteSize} bytes` };
}

/** The bytes of the target that are copied to are no piece's. */
function drawPiece(thread: StormThread, target: HeldMemory): Piece {
  const { random } = thread;
  const drawn = random.chance(0.6) ? drawMemory(thread) : null;
  if (drawn === null || drawn.held === target) return drawJsPiece(thread);
  const { held, place } = drawn;
  const isPart = random.chance(0.5);
  const { begin, end } = isPart
    ? random.range(held.model.byteSize)
    : { begin: 0, end: held.model.byteSize };
  return {
    buffer: isPart ? held.memory.subarray(begin, end) : held.memory,
    byteSize: end - begin,
    contentOf: (part, queue) =>
      held.model.read({ begin: begin + part.begin, end: begin + part.end }, queue),
    drawn,
    name: `m${place}${isPart ? ` from ${begin} to ${end}` : ""}`,
  };
}

/**
 * Notes in the model what a copy has to result in. A GPU's part of it is queued; JS memory has been read by
 * then, and what is copied from host to host is in place.
 */
function note(
  target: HeldMemory,
  targetOffset: number,
  pieces: readonly Piece[],
  { begin, end }: Range,
  stream: HeldStream | null,
): void {
  let offset = 0;
  for (const piece of pieces) {
    const first = Math.max(begin, offset);
    const last = Math.min(end, offset + piece.byteSize);
    if (first < last) {
      const isOfGpu = target.isOnGpu || piece.drawn?.held.isOnGpu === true;
      const queue = isOfGpu && stream !== null ? stream.queue : null;
      const content = piece.contentOf({ begin: first - offset, end: last - offset }, queue);
      target.model.write(targetOffset + first - begin, content, queue);
    }
    offset += piece.byteSize;
  }
}

/** Notes that some of the bytes may be there, or on their way. */
function noteFailure(target: HeldMemory, range: Range, stream: HeldStream | null): void {
  target.model.forget(range);
  if (stream === null) return;
  stream.queue.add({ ...range, model: target.model, isWrite: true });
  stream.queue.fail();
}

export const gather: Operation = {
  name: "gather",
  weight: 10,
  run: (thread) => {
    const { random } = thread;
    const drawn = drawMemory(thread);
    const streamPlace = random.chance(0.6) ? thread.streams.draw(random, true) : -1;
    if (drawn === null) return;
    const { held: target, place } = drawn;
    const count = random.between(1, piecesMax);
    const pieces = Array.from({ length: count }, () => drawPiece(thread, target));
    const stream = streamPlace < 0 ? null : thread.streams.at(streamPlace)!;
    const how = streamPlace < 0 ? "" : `, stream ${streamPlace}`;
    // What a stream does with a piece before comes before, also where that lies on the host.
    const [first] = pieces.flatMap((piece) => piece.drawn ?? []);
    const isAfterCopy = random.chance(0.8);
    const isWaitedFor = random.chance(0.5);
    if (isAfterCopy && first !== undefined) copyAnything(thread, stream, how, { target: first });
    const totalByteSize = pieces.reduce((sum, { byteSize }) => sum + byteSize, 0);
    const byteSizeMax = Math.min(totalByteSize, target.model.byteSize);
    const byteSize = random.chance(0.7) ? byteSizeMax : random.byteSize(1, byteSizeMax);
    const sourceOffset = random.chance(0.5) ? 0 : random.between(0, totalByteSize - byteSize);
    const targetOffset = random.between(0, target.model.byteSize - byteSize);
    const names = pieces.map(({ name }) => name).join("; ");
    const [to, from] = [`m${place} + ${targetOffset}`, `[${names}] + ${sourceOffset}`];
    thread.begin(`copyBuffer(${to}, ${byteSize} bytes${how}, ${from})`);
    if (target.isLent) return;

    const reference = new MemoryReference();
    for (const { buffer } of pieces) reference.append(buffer);
    const memories = [target, ...pieces.flatMap((piece) => piece.drawn?.held ?? [])];
    const options = { targetOffset, sourceOffset, byteSize, stream: stream?.stream };
    const { error } = thread.attempt(thread.codesFor(...memories), memories, () =>
      copyBuffer(target.memory, reference, options),
    );
    const range = { begin: targetOffset, end: targetOffset + byteSize };
    if (error !== null) return noteFailure(target, range, stream);
    note(
      target,
      targetOffset,
      pieces,
      { begin: sourceOffset, end: sourceOffset + byteSize },
      stream,
    );
    for (const { buffer } of pieces) if (buffer instanceof Uint8Array) buffer.fill(0xee);
    if (!isWaitedFor || stream === null) return;
    thread.synchronize(stream);
    checkAll(thread, target);
  },
};
