import { HeldView } from "../held-memory.ts";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";

/** Keeps a view of host memory, or of a part of it, in place of another. */
export const view: Operation = {
  name: "view",
  weight: 4,
  run: (thread) => {
    const { random } = thread;
    const place = random.below(thread.views.count);
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const { held } = drawn;
    const { begin, end } = random.range(held.model.byteSize);
    const how = random.below(3);
    thread.begin(`v${place} = m${drawn.place}.bytes, from ${begin} to ${end}, way ${how}`);
    if (held.isOnGpu) {
      thread.refused(["UNSUPPORTED"], [held], () => held.memory.bytes);
      thread.views.set(place, null);
      return;
    }
    if (held.isLent) return thread.views.set(place, null);
    const { value: bytes, error } = thread.attempt([], [held], () => held.memory.bytes);
    if (error !== null || bytes.byteLength === 0) return thread.views.set(place, null);
    const part =
      how === 1 ? bytes.subarray(begin, end) : new Uint8Array(bytes.buffer, begin, end - begin);
    thread.views.set(
      place,
      how === 0 ? new HeldView(held, bytes, 0) : new HeldView(held, part, begin),
    );
  },
};

/** Looks at a view, whatever has become of its memory. */
export const viewCheck: Operation = {
  name: "view-check",
  weight: 6,
  run: (thread) => {
    const place = thread.random.below(thread.views.count);
    thread.begin(`look at v${place}`);
    thread.views.at(place)?.check();
    thread.end("ok");
  },
};

/** Writes through a view, whatever has become of its memory. */
export const viewWrite: Operation = {
  name: "view-write",
  weight: 4,
  run: (thread) => {
    const place = thread.random.below(thread.views.count);
    const kept = thread.views.at(place);
    thread.begin(`write to v${place}`);
    if (kept === null || kept.held.isLent || kept.view.byteLength === 0) return;
    const content = thread.newContent(kept.view.byteLength);
    kept.view.set(content.bytes);
    kept.held.model.write(kept.begin, content, null);
    thread.end("ok");
  },
};
