// A Worker: what another thread may do while the stream that it is told of is being captured.

import { cuda } from "./cudart.ts";

declare const self: Worker;

self.addEventListener("message", ({ data: stream }: MessageEvent<number>) => {
  const malloc = cuda.malloc(16).error;
  cuda.exchangeCaptureMode(2);
  const relaxed = cuda.malloc(16).error;
  self.postMessage({ malloc, relaxed, ended: cuda.endCapture(stream).error });
  self.terminate();
});
