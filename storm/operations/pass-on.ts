import { AllocatedMemory } from "bun-cuda-memory";
import type { HeldMemory } from "../held-memory.ts";
import { checkBytes, ByteModel } from "../model.ts";
import { RangeSet } from "../range-set.ts";
import type { StormThread } from "../thread.ts";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";

// What passes from one thread to another.

/** What this package has, or will have, for it. */
interface Passing {
  detach(): unknown;
}
interface PassingClass {
  attach(handle: never): AllocatedMemory;
}

/** Whether memory can be detached in one thread and attached in another. */
export const canDetach = "detach" in AllocatedMemory.prototype;

/** Attaches what some thread has detached. */
export function attachMemory(handle: unknown): AllocatedMemory {
  return (AllocatedMemory as unknown as PassingClass).attach(handle as never);
}

/** How many attached memories a thread keeps. */
const guestCountMax = 3;

function drawReceiver(thread: StormThread): number {
  return thread.random.below(thread.round.threadCount);
}

/** Detaches a memory for another thread; what cannot be is freed. */
function send(thread: StormThread, held: HeldMemory, to: number): void {
  for (const stream of thread.streams.all) {
    if (held.model.queues.has(stream.queue)) thread.synchronize(stream);
  }
  const { byteSize } = held.model;
  const { bytes, unknown } = held.model.content({ begin: 0, end: byteSize }, null);
  // What a transfer still uses cannot go to another thread, and one that failed may use it until CUDA
  // can say that its copy is over.
  const mayBeInUse = held.transferCount > 0 || held.isLeftInUse || thread.round.hasFaults;
  const codes = mayBeInUse ? (["UNAVAILABLE"] as const) : [];
  const { value: handle, error } = thread.attempt(codes, [held], () =>
    (held.memory as unknown as Passing).detach(),
  );
  held.isFreed = true;
  if (error !== null) return held.memory.free();
  thread.checkViewsOf(held);
  const { name, birth } = held;
  thread.post({
    kind: "parcel",
    to,
    parcel: { kind: "memory", handle, bytes, unknown: unknown.ranges, name, birth },
  });
}

export const detach: Operation = {
  name: "detach",
  weight: 3,
  isPossible: () => canDetach,
  run: (thread) => {
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const { held, place } = drawn;
    const to = drawReceiver(thread);
    thread.memories.set(place, null);
    thread.begin(`detach m${place} for thread ${to}`);
    if (held.isLent) thread.free(held);
    else send(thread, held, to);
  },
};

function receive(thread: StormThread): void {
  const index = thread.inbox.findIndex(({ kind }) => kind === "memory");
  const parcel = index < 0 ? undefined : thread.inbox.splice(index, 1)[0];
  if (parcel?.kind !== "memory") return;
  const { name, birth, bytes } = parcel;
  const { value: memory, error } = thread.attemptForHandle(birth, () =>
    attachMemory(parcel.handle),
  );
  if (error !== null) return;
  thread.refused(["UNAVAILABLE"], [], () => attachMemory(parcel.handle));
  const content = { bytes, unknown: new RangeSet(parcel.unknown) };
  const model = new ByteModel(bytes.byteLength, content);
  thread.guests.push(thread.hold(memory, model, name, birth));
}

function look(thread: StormThread, held: HeldMemory): void {
  const { memory, model } = held;
  const codes = thread.codesFor(held);
  const target = new Uint8Array(model.byteSize);
  const { error } = thread.attempt(codes, [held], () => memory.read(target));
  const range = { begin: 0, end: model.byteSize };
  if (error === null) checkBytes(held.name, target, model.content(range, null));
  const content = thread.newContent(model.byteSize);
  const { error: failure } = thread.attempt(codes, [held], () => memory.write(content.bytes));
  if (failure === null) model.write(0, content, null);
  else model.forget(range);
}

/**
 * Attaches what was sent, looks at all that was, and sends the oldest on or frees it. When it comes
 * does not follow from the seed, so it is kept beside what the other operations draw from.
 */
export const attach: Operation = {
  name: "attach",
  weight: 4,
  isPossible: () => canDetach,
  run: (thread) => {
    const isSentOn = thread.random.chance(0.3);
    const to = drawReceiver(thread);
    thread.begin(`attach, then ${isSentOn ? `detach for thread ${to}` : "free"}`);
    receive(thread);
    for (const guest of thread.guests) look(thread, guest);
    if (thread.guests.length <= guestCountMax) return;
    const oldest = thread.guests.shift()!;
    if (isSentOn) send(thread, oldest, to);
    else thread.free(oldest);
  },
};

/** Lets another thread have the buffer of a view, which is refused or keeps the memory. */
export const lend: Operation = {
  name: "lend",
  weight: 1,
  run: (thread) => {
    const drawn = drawMemory(thread);
    if (drawn === null) return;
    const { held, place } = drawn;
    const to = drawReceiver(thread);
    thread.begin(`send the buffer of m${place} to thread ${to}`);
    if (held.isOnGpu || held.isLent || held.model.queues.size > 0) return;
    const { value: view, error } = thread.attempt([], [held], () => held.memory.bytes);
    if (error !== null || view.byteLength === 0) return;
    const range = { begin: 0, end: held.model.byteSize };
    const { bytes, unknown } = held.model.content(range, null);
    const { name } = held;
    const { buffer } = view;
    held.isLent = true;
    try {
      const parcel = { kind: "buffer", buffer, bytes, unknown: unknown.ranges, name } as const;
      thread.post({ kind: "parcel", to, parcel }, [buffer]);
      thread.end("sent");
    } catch (refusal) {
      held.isLent = false;
      thread.end(`refused: ${String(refusal)}`);
    }
  },
};

/** Looks at the buffers that others have lent. */
export const borrow: Operation = {
  name: "borrow",
  weight: 2,
  run: (thread) => {
    const isKept = thread.random.chance(0.7);
    thread.begin(`look at borrowed buffers${isKept ? "" : " and drop them"}`);
    for (const parcel of thread.inbox.splice(0)) {
      if (parcel.kind === "buffer") thread.borrowed.push(parcel);
      else thread.inbox.push(parcel);
    }
    for (const { buffer, bytes, unknown, name } of thread.borrowed) {
      if (buffer.byteLength === 0) continue;
      const content = { bytes, unknown: new RangeSet(unknown) };
      checkBytes(`the buffer of ${name}, which was sent here`, new Uint8Array(buffer), content);
    }
    if (!isKept) thread.borrowed.length = 0;
    thread.end("ok");
  },
};
