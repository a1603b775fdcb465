import { CFunction, type Pointer, toArrayBuffer } from "bun:ffi";
import { PinnedMemoryManager } from "bun-cuda-memory";
import { CudartSimulator } from "bun-cuda-memory/simulator";
import { drawMemory } from "./bytes.ts";
import type { Operation } from "./operation.ts";

// What breaks something behind the storm's back, so that tests see it noticed. None is done unless
// `STORM_BREAK` names it.

/** A byte of a memory changes, which nobody has written. */
const plantByte: Operation = {
  name: "plant-byte",
  weight: 2,
  run: (thread) => {
    const drawn = drawMemory(thread);
    if (drawn === null || drawn.held.isOnGpu) return;
    thread.begin(`plant a byte in m${drawn.place}`);
    const { pointer, totalByteSize } = drawn.held.memory;
    const bytes = new Uint8Array(toArrayBuffer(pointer!, 0, totalByteSize));
    bytes[totalByteSize - 1]! ^= 0xff;
  },
};

/** Memory that nobody knows of. */
const leak: Operation = {
  name: "leak",
  weight: 0.3,
  run: (thread) => {
    thread.begin("allocate and forget");
    PinnedMemoryManager.alloc(512);
  },
};

/** A CUDA call fails in a round in which none may. */
const unexpectedFault: Operation = {
  name: "unexpected-fault",
  weight: 1,
  run: (thread) => {
    thread.begin("make a call fail");
    CudartSimulator.failCall({ function: "cudaMemcpyAsync", error: 999 });
  },
};

const hang: Operation = {
  name: "hang",
  weight: 1,
  run: (thread) => {
    thread.begin("never come back");
    const word = new Int32Array(new SharedArrayBuffer(4));
    if (thread.index === 0) Atomics.wait(word, 0, 0);
  },
};

const crash: Operation = {
  name: "crash",
  weight: 1,
  run: (thread) => {
    thread.begin("call what is no function");
    CFunction({ ptr: 8 as Pointer, args: [], returns: "void" })();
  },
};

const throwAnything: Operation = {
  name: "throw-anything",
  weight: 1,
  run: (thread) => {
    thread.begin("throw what nobody expects");
    throw new TypeError("not on purpose");
  },
};

export const sabotage: readonly Operation[] = [
  plantByte,
  leak,
  unexpectedFault,
  hang,
  crash,
  throwAnything,
];
