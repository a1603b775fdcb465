import { threadState } from "../native/thread-state.ts";
import { Semaphore } from "./semaphore.ts";

/**
 * The most transfers of host memory, and of each GPU's memory, that are under way at once. More would
 * not move more bytes; they would take more pinned memory, and more of each turn of the event loop.
 */
const activeTransferCountMax = 4;

const turns = threadState("transferTurns", () => ({
  onHost: new Semaphore(activeTransferCountMax),
  onGpu: new Map<number, Semaphore>(),
}));

/** The turns of this thread's transfers of host memory. */
export const hostTurns = turns.onHost;

/** The turns of this thread's transfers of a GPU's memory. A slow GPU holds up no other. */
export function turnsOfGpu(deviceId: number): Semaphore {
  let semaphore = turns.onGpu.get(deviceId);
  if (semaphore === undefined) {
    semaphore = new Semaphore(activeTransferCountMax);
    turns.onGpu.set(deviceId, semaphore);
  }
  return semaphore;
}
