import { CudaStream } from "bun-cuda-memory";
import { Queue } from "../model.ts";
import { gpus } from "../round.ts";
import type { StreamOrigin } from "../stream-origin.ts";
import type { HeldStream, StormThread } from "../thread.ts";
import type { Operation } from "./operation.ts";

/** A stream, and where the thread has it. */
export interface DrawnStream {
  readonly stream: HeldStream;
  readonly place: number;
}

/** Draws a stream, and names it. */
export function drawStream(thread: StormThread): DrawnStream | null {
  const place = thread.streams.draw(thread.random, true);
  return place < 0 ? null : { stream: thread.streams.at(place)!, place };
}

export const newStream: Operation = {
  name: "stream",
  weight: 3,
  run: (thread) => {
    const place = thread.streams.draw(thread.random, false);
    if (place < 0) return;
    const gpu = thread.random.pick(gpus);
    thread.begin(`s${place} = new CudaStream(${gpu})`);
    const stream = thread.untilDone(thread.cudaCodes, () => new CudaStream(gpu));
    thread.streams.set(place, holdStream(stream, null));
  },
};

/** Begins to hold a stream, which has nothing to do. */
export function holdStream(stream: CudaStream, origin: StreamOrigin | null): HeldStream {
  return {
    stream,
    origin,
    queue: new Queue(),
    transfers: new Set(),
    finishedCount: 0,
    hasFreed: false,
  };
}

/**
 * Frees what a stream still uses, with that stream: it cannot be waited for any more once it is
 * gone, and nothing else tells when its work is done.
 */
function freeUsed(thread: StormThread, stream: HeldStream): void {
  for (let place = 0; place < thread.memories.count; place++) {
    const held = thread.memories.at(place);
    if (held === null || !held.model.queues.has(stream.queue)) continue;
    thread.free(held, stream);
    // What holds a place must follow from the seed: another memory of its size takes it.
    thread.memories.set(place, thread.allocate(held.model.byteSize, "CPU_PINNED", 0));
  }
}

export const disposeStream: Operation = {
  name: "stream-dispose",
  weight: 0.7,
  run: (thread) => {
    const drawn = drawStream(thread);
    if (drawn === null) return;
    const isWaitedFor = thread.random.chance(0.5);
    thread.begin(`dispose s${drawn.place}${isWaitedFor ? ", which is done" : ""}`);
    if (isWaitedFor) thread.synchronize(drawn.stream);
    else freeUsed(thread, drawn.stream);
    thread.streams.set(drawn.place, null);
    // Where CUDA fails that is logged, and the stream may live on until the next call.
    for (let tryCount = 0; tryCount < 10; tryCount++) {
      thread.attempt([], [], () => drawn.stream.stream[Symbol.dispose]());
    }
    thread.refused(["INVALID_ARG"], [], () => drawn.stream.stream.synchronize());
  },
};

/** Has what one stream is given next come after what another one was given. */
export const waitFor: Operation = {
  name: "stream-wait-for",
  weight: 4,
  run: (thread) => {
    const drawn = drawStream(thread);
    const other = drawStream(thread);
    if (drawn === null || other === null) return;
    waitForStream(thread, drawn, other);
  },
};

/** Has one stream wait for what another one was given so far. */
export function waitForStream(thread: StormThread, one: DrawnStream, other: DrawnStream): void {
  thread.begin(`s${one.place}.waitFor(s${other.place})`);
  const { error } = thread.attempt(thread.cudaCodes, [], () =>
    one.stream.stream.waitFor(other.stream.stream),
  );
  // An error of the other's work is told by the other alone, maybe only after this one is done.
  if (error === null && !thread.round.hasFaults) one.stream.queue.waitFor(other.stream.queue);
}

/** Leaves a stream to the garbage collector. */
export const dropStream: Operation = {
  name: "stream-drop",
  weight: 0.5,
  run: (thread) => {
    const drawn = drawStream(thread);
    if (drawn === null) return;
    thread.begin(`drop s${drawn.place}`);
    freeUsed(thread, drawn.stream);
    thread.streams.set(drawn.place, null);
    thread.end("dropped");
  },
};

export const synchronize: Operation = {
  name: "synchronize",
  weight: 2,
  run: (thread) => {
    const drawn = drawStream(thread);
    if (drawn === null) return;
    thread.begin(`s${drawn.place}.synchronize()`);
    thread.synchronize(drawn.stream);
  },
};

export const isDone: Operation = {
  name: "is-done",
  weight: 3,
  run: (thread) => {
    const drawn = drawStream(thread);
    if (drawn === null) return;
    thread.begin(`s${drawn.place}.isDone()`);
    const { stream, queue } = drawn.stream;
    const { value: isDone, error } = thread.attempt(thread.cudaCodes, [], () => stream.isDone());
    if (error !== null) queue.fail();
    else if (isDone) thread.finish(drawn.stream);
  },
};

export const finished: Operation = {
  name: "finished",
  weight: 3,
  run: async (thread) => {
    await thread.roomForTransfer();
    const drawn = drawStream(thread);
    if (drawn === null) return;
    thread.begin(`s${drawn.place}.finished()`);
    const { stream, queue } = drawn.stream;
    const lastUse = queue.lastUse;
    drawn.stream.finishedCount++;
    const promise = stream.finished().then(
      () => {
        drawn.stream.finishedCount--;
        if (lastUse !== undefined) queue.finish(lastUse);
      },
      (error: unknown) => {
        drawn.stream.finishedCount--;
        queue.fail();
        thread.checkError(thread.cudaCodes, [], error);
      },
    );
    thread.end("begun");
    thread.follow(promise);
  },
};
