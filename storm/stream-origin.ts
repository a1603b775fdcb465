import { dlopen, type Pointer } from "bun:ffi";
import { simulatorLibraryPath } from "bun-cuda-memory/simulator";
import { type Board, streamInBetween } from "./events.ts";

// Streams that the package has not made: those of a library that computes on a GPU, say.

const cudart = dlopen(simulatorLibraryPath, {
  cudaGetDevice: { args: ["ptr"], returns: "i32" },
  cudaSetDevice: { args: ["i32"], returns: "i32" },
  cudaStreamCreateWithFlags: { args: ["ptr", "u32"], returns: "i32" },
  cudaStreamDestroy: { args: ["ptr"], returns: "i32" },
  cudaStreamSynchronize: { args: ["ptr"], returns: "i32" },
}).symbols;

/** Whose a stream is, and how it ends. */
export interface StreamOrigin {
  readonly handle: Pointer;
  readonly gpu: number;
  /** Where the thread has noted that it has the stream; -1 for one that nobody destroys. */
  readonly slot: number;
}

/** One of the two handles of a GPU's legacy default stream, which all threads have together. */
export function defaultStreamOf(gpu: number, handle: 0 | 1): StreamOrigin {
  return { handle: handle as Pointer, gpu, slot: -1 };
}

/**
 * Makes a stream, and leaves the thread's current GPU as it is.
 *
 * @param flags 1 for a stream that does not wait for the legacy default stream, or 0.
 * @returns `null` where CUDA refuses, or the thread has as many as it can.
 */
export function createStream(
  board: Board,
  threadIndex: number,
  gpu: number,
  flags: 0 | 1,
): StreamOrigin | null {
  const slot = board.streamsOf(threadIndex).indexOf(0);
  if (slot < 0) return null;
  const before = new Int32Array(1);
  if (cudart.cudaGetDevice(before) !== 0) return null;
  board.setStream(threadIndex, slot, streamInBetween);
  const handle = new BigUint64Array(1);
  const isCreated =
    cudart.cudaSetDevice(gpu) === 0 && cudart.cudaStreamCreateWithFlags(handle, flags) === 0;
  board.setStream(threadIndex, slot, isCreated ? Number(handle[0]) : 0);
  cudart.cudaSetDevice(before[0]!);
  return isCreated ? { handle: Number(handle[0]) as Pointer, gpu, slot } : null;
}

/** Destroys a stream whose work is over. */
export function destroyOrigin(board: Board, threadIndex: number, origin: StreamOrigin): void {
  if (origin.slot < 0) return;
  board.setStream(threadIndex, origin.slot, streamInBetween);
  cudart.cudaStreamDestroy(origin.handle);
  board.setStream(threadIndex, origin.slot, 0);
}

/** Destroys a stream after its work. */
export function destroyStream(handle: number): void {
  cudart.cudaStreamSynchronize(handle as Pointer);
  cudart.cudaStreamDestroy(handle as Pointer);
}
