// Tells the threads of the process that requests of theirs, which waited for memory, have been served.

import { packageVersion } from "./version.ts";

/** Taken when the package is loaded: tests replace the global one. */
const { BroadcastChannel } = globalThis;

interface Unreferenced {
  unref?(): void;
}

let channel: BroadcastChannel | undefined;
let listener: (() => void) | undefined;

function openChannel(): BroadcastChannel {
  if (channel !== undefined) return channel;
  channel = new BroadcastChannel(`bun-cuda-memory ${packageVersion}`);
  // Who waits keeps the process from ending by other means.
  (channel as Unreferenced).unref?.();
  return channel;
}

/** Tells all threads, this one first. */
export function tellServed(): void {
  listener?.();
  openChannel().postMessage(null);
}

/** Calls the function from now on whenever requests have been served, perhaps of this thread. */
export function listenForServed(listen: () => void): void {
  if (listener !== undefined) return;
  listener = listen;
  openChannel().onmessage = listen;
}
