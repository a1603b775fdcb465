// A Worker that queues a memset on its thread's own default stream.
import { cuda } from "./cudart.ts";

declare const self: Worker;

function queueOn(device: number) {
  const queued = cuda.memsetAsync(device, 6, 1, 2);
  return { queued, busy: cuda.queryStream(2) };
}

export type OwnStream = ReturnType<typeof queueOn>;

self.addEventListener("message", (event: MessageEvent<number>) => {
  self.postMessage(queueOn(event.data));
});
