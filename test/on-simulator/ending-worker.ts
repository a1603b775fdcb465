// Holds memory of all kinds, streams, views and transfers under way, says so, and ends as it is told.

import { dlopen, type Pointer } from "bun:ffi";
import {
  AllocatedMemory,
  copyBuffer,
  CudaMemoryManager,
  CudaStream,
  PinnedMemoryManager,
} from "../../src/index.ts";

import { cudartPath } from "../../src/native/cudart.ts";
import { extraCudartSymbols } from "../../src/native/cudart-symbols.ts";

declare const self: Worker;

const mebibyte = 1024 ** 2;

/** What a Worker does in its last moments. */
export type Ending = "terminate" | "throw" | "exit" | "end" | "spin" | "capture";

/** What a Worker is told; it uses the stream of a handle beside one of its own. */
export interface Task {
  ending: Ending;
  isDetaching?: boolean;
  handle?: Pointer;
}

self.onmessage = async ({ data }: MessageEvent<Task>) => {
  const memories = (["GPU", "CPU_PINNED", "CPU"] as const).map(
    (type) => new AllocatedMemory(mebibyte, type),
  );
  const [onGpu, pinned] = memories;
  const stream = new CudaStream(0);
  copyBuffer(onGpu!, pinned!, { stream });
  const pending = new AllocatedMemory(mebibyte, "GPU");
  copyBuffer(pending, pinned!, { stream });
  pending.free(stream);
  if (data.handle !== undefined) {
    const borrowed = CudaStream.from(data.handle, 0);
    copyBuffer(onGpu!, pinned!, { stream: borrowed });
    Object.assign(globalThis, { borrowed });
  }
  pinned!.bytes.fill(1);
  void onGpu!.holdUntil(new Promise(() => {})).catch(() => {});
  const transfers = [
    onGpu!.writeAsync(new Uint8Array(mebibyte)),
    onGpu!.readAsync(new Uint8Array(mebibyte), 0, { stream }),
    stream.finished(),
  ];
  for (const transfer of transfers) transfer.catch(() => {});
  await Bun.sleep(1);
  Object.assign(globalThis, { memories, stream });
  self.postMessage({
    handle: data.isDetaching ? new AllocatedMemory(mebibyte, "GPU").detach() : null,
    pointers: [CudaMemoryManager.alloc(512, 0), PinnedMemoryManager.alloc(512).pointer],
  });
  if (data.ending === "capture") {
    const { cudaStreamBeginCapture } = dlopen(cudartPath()!, extraCudartSymbols).symbols;
    if (cudaStreamBeginCapture(stream.handle, 0) !== 0) throw new Error("no capture began");
    process.exit(0);
  }
  if (data.ending === "throw") throw new Error("the Worker's own");
  if (data.ending === "exit") process.exit(0);
  if (data.ending === "spin") for (;;);
  if (data.ending === "terminate") setInterval(() => {}, 1000);
  self.onmessage = null;
};
