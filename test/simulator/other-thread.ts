// A Worker that reports what a new thread sees, then selects device 1 and fails a call.
import { cuda } from "./cudart.ts";

declare const self: Worker;

function report() {
  const deviceAtStart = cuda.currentDevice().value;
  const errorAtStart = cuda.peekError();
  cuda.setDevice(1);
  const pointer = cuda.malloc(1024).value;
  cuda.setDevice(99);
  const deviceAtEnd = cuda.currentDevice().value;
  return { deviceAtStart, errorAtStart, pointer, deviceAtEnd, errorAtEnd: cuda.peekError() };
}

export type OtherThread = ReturnType<typeof report>;

self.postMessage(report());
