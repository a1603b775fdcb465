import type { HeldMemory } from "../held-memory.ts";
import type { StormThread } from "../thread.ts";
import { drawMemory } from "./bytes.ts";
import { copyAnything } from "./copy.ts";
import type { Operation } from "./operation.ts";

/** Empties a place, and names it. */
function take(thread: StormThread): { held: HeldMemory; place: number } | null {
  const place = thread.memories.draw(thread.random, true);
  const held = place < 0 ? null : thread.memories.at(place);
  if (held === null) return null;
  thread.memories.set(place, null);
  return { held, place };
}

/** Frees, once or twice. */
export const free: Operation = {
  name: "free",
  weight: 7,
  run: (thread) => {
    const taken = take(thread);
    if (taken === null) return;
    const isTwice = thread.random.chance(0.2);
    thread.begin(`m${taken.place}.free()${isTwice ? " twice" : ""}`);
    thread.free(taken.held);
    if (isTwice) thread.attempt([], [], () => taken.held.memory.free());
    thread.checkViewsOf(taken.held);
  },
};

/** Frees after what a stream was given, or several. */
export const freeOnStream: Operation = {
  name: "free-on-stream",
  weight: 4,
  run: (thread) => {
    const streamPlace = thread.streams.draw(thread.random, true);
    const taken = streamPlace < 0 ? null : take(thread);
    if (taken === null) return;
    const others = thread.random.chance(0.3) ? [thread.streams.draw(thread.random, true)] : [];
    const places = [streamPlace, ...others];
    thread.begin(`m${taken.place}.free(streams ${places.join()})`);
    thread.free(taken.held, ...places.map((place) => thread.streams.at(place)!));
    thread.checkViewsOf(taken.held);
  },
};

/**
 * Has several streams read a memory, and frees it after what all of them were given. Another one of its size
 * may have its bytes only then.
 */
export const freeInUse: Operation = {
  name: "free-in-use",
  weight: 3,
  run: (thread) => {
    const { random } = thread;
    const drawn = drawMemory(thread);
    const [one, other] = [thread.streams.draw(random, true), thread.streams.draw(random, true)];
    if (drawn === null || one < 0) return;
    const { held, place } = drawn;
    const copy = (streamPlace: number) =>
      copyAnything(thread, thread.streams.at(streamPlace)!, `, stream ${streamPlace}`, {
        source: drawn,
      });
    copy(one);
    // Those of the other stream are over later.
    for (let count = random.between(1, 4); count > 0; count--) copy(other);
    const places = [one, other];
    thread.begin(`m${place}.free(streams ${places.join()}), and another one in its place`);
    thread.free(held, ...places.map((streamPlace) => thread.streams.at(streamPlace)!));
    thread.checkViewsOf(held);
    const { memoryType, memoryTypeId } = held.memory;
    const first = thread.streams.at(one)!;
    const next = thread.allocate(held.model.byteSize, memoryType, memoryTypeId, first);
    thread.synchronize(first);
    thread.memories.set(place, next);
    const content = thread.newContent(held.model.byteSize);
    const { error } = thread.attempt(thread.codesFor(next), [next], () =>
      next.memory.write(content.bytes),
    );
    if (error === null) next.model.write(0, content, null);
  },
};

/** Leaves a memory to the garbage collector, whatever is under way on it. */
export const drop: Operation = {
  name: "drop",
  weight: 2,
  run: (thread) => {
    const taken = take(thread);
    if (taken !== null) thread.begin(`drop m${taken.place}`);
    thread.end("dropped");
  },
};

/** Collects garbage. */
export const collect: Operation = {
  name: "collect",
  weight: 0.3,
  run: (thread) => {
    thread.begin("collect garbage");
    Bun.gc(true);
    thread.end("ok");
  },
};
