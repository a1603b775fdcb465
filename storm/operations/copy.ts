import { copyBuffer } from "bun-cuda-memory";
import type { HeldStream, StormThread } from "../thread.ts";
import { checkAll, drawMemory, type DrawnMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";
import { waitForStream } from "./stream.ts";

/** Copies between two memories, which are drawn where they are not given. Returns the target. */
export function copyAnything(
  thread: StormThread,
  stream: HeldStream | null,
  how: string,
  given: { readonly target?: DrawnMemory | null; readonly source?: DrawnMemory | null } = {},
): DrawnMemory | null {
  const { random } = thread;
  const target = given.target ?? drawMemory(thread);
  const source = given.source ?? drawMemory(thread);
  if (target === null || source === null || target.held === source.held) return null;
  const byteSizeMax = Math.min(target.held.model.byteSize, source.held.model.byteSize);
  const byteSize = random.chance(0.4) ? byteSizeMax : random.byteSize(1, byteSizeMax);
  const targetOffset = random.between(0, target.held.model.byteSize - byteSize);
  const sourceOffset = random.between(0, source.held.model.byteSize - byteSize);
  const [to, from] = [`m${target.place} + ${targetOffset}`, `m${source.place} + ${sourceOffset}`];
  thread.begin(`copyBuffer(${to}, ${from}, ${byteSize} bytes${how})`);
  if (target.held.isLent) return target;

  const memories = [target.held, source.held];
  const codes = thread.codesFor(...memories);
  const range = { begin: sourceOffset, end: sourceOffset + byteSize };
  const options = { targetOffset, sourceOffset, byteSize };
  const { value: isQueued, error } = thread.attempt(codes, memories, () =>
    copyBuffer(
      target.held.memory,
      source.held.memory,
      stream === null ? options : { ...options, stream: stream.stream },
    ),
  );
  if (error !== null) {
    target.held.model.forget({ begin: targetOffset, end: targetOffset + byteSize });
    return target;
  }
  // Between host memories the bytes are in place, also where a stream was named.
  const queue = isQueued ? stream!.queue : null;
  const content = source.held.model.read(range, queue);
  target.held.model.write(targetOffset, content, queue);
  return target;
}

export const copy: Operation = {
  name: "copy",
  weight: 6,
  run: (thread) => void copyAnything(thread, null, ""),
};

export const copyOnStream: Operation = {
  name: "copy-on-stream",
  weight: 10,
  run: (thread) => {
    const place = thread.streams.draw(thread.random, true);
    if (place < 0) return;
    copyAnything(thread, thread.streams.at(place)!, `, stream ${place}`);
  },
};

/** Copies on one stream what another one brings, which it waits for. */
export const relay: Operation = {
  name: "relay",
  weight: 4,
  run: (thread) => {
    const { random } = thread;
    const [firstPlace, lastPlace] = [0, 1].map(() => thread.streams.draw(random, true)) as [
      number,
      number,
    ];
    const middle = drawMemory(thread);
    const isWaitedFor = random.chance(0.7);
    if (firstPlace < 0 || middle === null) return;
    const [first, last] = [thread.streams.at(firstPlace)!, thread.streams.at(lastPlace)!];
    copyAnything(thread, first, `, stream ${firstPlace}`, { target: middle });
    waitForStream(thread, { stream: last, place: lastPlace }, { stream: first, place: firstPlace });
    const target = copyAnything(thread, last, `, stream ${lastPlace}`, { source: middle });
    if (!isWaitedFor) return;
    thread.synchronize(last);
    checkAll(thread, middle.held);
    if (target !== null) checkAll(thread, target.held);
  },
};
