import { CudaStream, type MemoryErrorCode } from "bun-cuda-memory";
import type { Pointer } from "bun:ffi";
import { gpus } from "../round.ts";
import {
  createStream,
  defaultStreamOf,
  destroyOrigin,
  type StreamOrigin,
} from "../stream-origin.ts";
import type { StormThread } from "../thread.ts";
import type { Operation } from "./operation.ts";
import { drawStream, holdStream } from "./stream.ts";

// Streams of somebody else. Those that the thread itself has made are destroyed by it, and in the end by
// the main thread; the default streams are those of all threads.

/** CUDA calls a handle wrong in the same words in which it is made to fail. */
function codesOfHandle(thread: StormThread): readonly MemoryErrorCode[] {
  return thread.round.hasFaults ? ["INVALID_ARG", ...thread.cudaCodes] : [];
}

function borrow(thread: StormThread, { handle, gpu }: StreamOrigin): CudaStream {
  return thread.untilDone(codesOfHandle(thread), () => CudaStream.from(handle, gpu));
}

/** Fills an empty place with a stream that the package has not made. */
export const streamFrom: Operation = {
  name: "stream-from",
  weight: 3,
  run: (thread) => {
    const { random, board, index } = thread;
    const place = thread.streams.draw(random, false);
    if (place < 0) return;
    const gpu = random.pick(gpus);
    const isDefault = random.chance(0.3);
    const number = random.pick([0, 1] as const);
    const what = isDefault ? `default stream ${number}` : `a stream with flags ${number}`;
    thread.begin(`s${place} = CudaStream.from(${what} of GPU ${gpu})`);
    const created = isDefault ? null : createStream(board, index, gpu, number);
    const origin = created ?? defaultStreamOf(gpu, number);
    thread.streams.set(place, holdStream(borrow(thread, origin), origin));
  },
};

/** Goes on with another object for the same stream, whatever was begun with the first. */
export const streamFromAgain: Operation = {
  name: "stream-from-again",
  weight: 2,
  run: (thread) => {
    const drawn = drawStream(thread);
    if (drawn === null) return;
    const { stream: held, place } = drawn;
    thread.begin(`s${place} = CudaStream.from(s${place}.handle)`);
    if (held.origin === null) return;
    const before = held.stream;
    held.stream = borrow(thread, held.origin);
    thread.attempt([], [], () => before[Symbol.dispose]());
    // Its errors may be told to the first object, or logged.
    if (thread.round.hasFaults) held.queue.doubt();
  },
};

/**
 * Destroys somebody else's stream as soon as all that was begun on it is over: before its object is
 * disposed of, or dropped.
 */
export const streamDestroy: Operation = {
  name: "stream-destroy",
  weight: 1.5,
  // With faults nobody can say when what has failed is over.
  isPossible: (round) => !round.hasFaults,
  run: async (thread) => {
    const drawn = drawStream(thread);
    if (drawn === null) return;
    const { stream: held, place } = drawn;
    const isDropped = thread.random.chance(0.3);
    thread.begin(`destroy the stream of s${place}${isDropped ? ", and drop it" : ""}`);
    if (held.origin === null || held.origin.slot < 0 || held.hasFreed) return;
    await thread.settle(0);
    await held.stream.finished();
    thread.finish(held);
    destroyOrigin(thread.board, thread.index, held.origin);
    if (!isDropped) thread.attempt([], [], () => held.stream[Symbol.dispose]());
    // What holds a place must follow from the seed: one of the same GPU takes it.
    const origin = defaultStreamOf(held.origin.gpu, 0);
    thread.streams.set(place, holdStream(borrow(thread, origin), origin));
    thread.end("ok");
  },
};

/** What is no stream that can be borrowed. */
export const wrongStream: Operation = {
  name: "wrong-stream",
  weight: 0.5,
  run: (thread) => {
    const gpu = thread.random.pick(gpus);
    thread.begin(`CudaStream.from(the default stream of each thread, ${gpu})`);
    const refusals = ["UNSUPPORTED", ...codesOfHandle(thread)] as const;
    thread.refused(refusals, [], () => CudaStream.from(2 as Pointer, gpu));
  },
};
