import { copyBuffer } from "bun-cuda-memory";
import type { HeldStream, StormThread } from "../thread.ts";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";

/** @param target Where it goes; by default another memory each time. */
export function copyAnything(
  thread: StormThread,
  stream: HeldStream | null,
  how: string,
  target = drawMemory(thread),
): void {
  const { random } = thread;
  const source = drawMemory(thread);
  if (target === null || source === null || target.held === source.held) return;
  const byteSizeMax = Math.min(target.held.model.byteSize, source.held.model.byteSize);
  const byteSize = random.chance(0.4) ? byteSizeMax : random.byteSize(1, byteSizeMax);
  const targetOffset = random.between(0, target.held.model.byteSize - byteSize);
  const sourceOffset = random.between(0, source.held.model.byteSize - byteSize);
  const [to, from] = [`m${target.place} + ${targetOffset}`, `m${source.place} + ${sourceOffset}`];
  thread.begin(`copyBuffer(${to}, ${from}, ${byteSize} bytes${how})`);
  if (target.held.isLent) return;

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
    return;
  }
  // Between host memories the bytes are in place, also where a stream was named.
  const queue = isQueued ? stream!.queue : null;
  const content = source.held.model.read(range, queue);
  target.held.model.write(targetOffset, content, queue);
}

export const copy: Operation = {
  name: "copy",
  weight: 6,
  run: (thread) => copyAnything(thread, null, ""),
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
