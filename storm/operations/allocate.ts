import { AllocatedMemory, type MemoryType } from "bun-cuda-memory";
import type { HeldMemory } from "../held-memory.ts";
import type { Random } from "../random.ts";
import { gpus, gpusWithPools } from "../round.ts";
import type { HeldStream, StormThread } from "../thread.ts";
import type { Operation } from "./operation.ts";

const types: readonly MemoryType[] = ["GPU", "GPU", "GPU", "CPU_PINNED", "CPU_PINNED", "CPU"];

/** All threads share them. What they have must be nothing in the end. */
const accountNames = ["a", "b"] as const;

/** Mostly small; now and then more than one piece of a transfer, or of what a copy is cut into. */
function drawByteSize(random: Random): number {
  const max = random.pick([4096, 4096, 4096, 4096, 65536, 65536, 262144, 1 << 20]);
  return random.chance(0.03) ? random.between(4 << 20, 10 << 20) : random.byteSize(1, max);
}

/**
 * Draws what to allocate, with or without a stream.
 *
 * @param among The GPUs of which it may be.
 */
function allocateAnything(
  thread: StormThread,
  place: string,
  among: readonly number[] = gpus,
): HeldMemory {
  const { random } = thread;
  const byteSize = drawByteSize(random);
  const type = random.pick(types);
  const gpu = random.pick(among);
  const streamPlace = random.chance(0.3) ? thread.streams.draw(random, true) : -1;
  const isWritten = random.chance(0.8);
  const account = random.chance(0.3) ? random.pick(accountNames) : undefined;
  const stream: HeldStream | null = streamPlace < 0 ? null : thread.streams.at(streamPlace);
  const how =
    (streamPlace < 0 ? "" : ` for stream ${streamPlace}`) +
    (account === undefined ? "" : ` on account ${account}`);
  thread.begin(`${place} = new AllocatedMemory(${byteSize}, ${type}, ${gpu})${how}`);
  const held = thread.allocate(byteSize, type, gpu, stream ?? undefined, account);
  // With a stream the memory's former work may not be done before the stream's next work.
  if (stream !== null) thread.synchronize(stream);
  thread.end(`${held.name} is ${held.memory.memoryType}`);
  if (isWritten) writeAll(thread, held);
  return held;
}

function writeAll(thread: StormThread, held: HeldMemory): void {
  const content = thread.newContent(held.model.byteSize);
  const { error } = thread.attempt(thread.codesFor(held), [held], () =>
    held.memory.write(content.bytes),
  );
  if (error === null) held.model.write(0, content, null);
}

/** Fills an empty place. */
export const allocate: Operation = {
  name: "allocate",
  weight: 14,
  run: (thread) => {
    const place = thread.memories.draw(thread.random, false);
    if (place < 0) return;
    thread.memories.set(place, allocateAnything(thread, `m${place}`));
  },
};

/** A memory that lives as long as a scope, which may be left by an error. */
export const using: Operation = {
  name: "using",
  weight: 6,
  run: (thread) => {
    const held = allocateAnything(thread, "using", gpusWithPools);
    const reason = new Error("left on purpose");
    const isLeftByError = thread.random.chance(0.3);
    try {
      using memory = held.memory;
      const target = new Uint8Array(memory.totalByteSize);
      thread.attempt(thread.codesFor(held), [held], () => memory.read(target));
      if (isLeftByError) throw reason;
    } catch (error) {
      if (error !== reason) throw error;
    }
    held.isFreed = true;
  },
};

/** Waits for memory, which may not come, and gives up at once or a little later. */
export const wait: Operation = {
  name: "wait",
  weight: 3,
  run: async (thread) => {
    const { random } = thread;
    const byteSize = drawByteSize(random);
    const type = random.pick(["GPU", "CPU_PINNED"] as const);
    const gpu = random.pick(gpusWithPools);
    const account = random.chance(0.5) ? random.pick(accountNames) : undefined;
    const isPatient = random.chance(0.5);
    thread.begin(`allocate(${byteSize}, ${type}, ${gpu})${isPatient ? "" : ", and give up"}`);
    const controller = new AbortController();
    const { signal } = controller;
    const ended = AllocatedMemory.allocate(byteSize, type, gpu, { account, signal }).then(
      (memory) => {
        memory.free();
        return "ok";
      },
      (error: unknown) => {
        if (error === signal.reason) return "given up";
        // There may be no pool, or none that is large enough.
        thread.checkError(["UNAVAILABLE", "OUT_OF_MEMORY", ...thread.cudaCodes], [], error);
        return "refused";
      },
    );
    if (isPatient) await Bun.sleep(1);
    controller.abort();
    thread.end(await ended);
  },
};

/** What no pool and no system has: an empty memory, and an error in the log. */
export const allocateTooMuch: Operation = {
  name: "allocate-too-much",
  weight: 1,
  run: (thread) => {
    const { random } = thread;
    const type = random.pick(types);
    const gpu = random.pick(gpus);
    thread.begin(`new AllocatedMemory(2 ** 52, ${type}, ${gpu})`);
    thread.allocateNothing(2 ** 52, type, gpu);
  },
};
