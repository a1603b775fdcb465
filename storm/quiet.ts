import {
  CudaMemoryManager,
  MemoryAccount,
  type PoolStats,
  PinnedMemoryManager,
} from "bun-cuda-memory";
import { CudartSimulator } from "bun-cuda-memory/simulator";
import type { Pointer } from "bun:ffi";
import { type Board, type PointerRecord, streamInBetween } from "./events.ts";
import { StormFailure } from "./failure.ts";
import { checkStats } from "./operations/statistics.ts";
import { gpusWithPools, type RoundPlan } from "./round.ts";
import { destroyStream } from "./stream-origin.ts";

// A quiet point: every Worker has ended, and whatever was detached has been freed. All must be as
// it was before.

/** How often a figure is looked at that only becomes right when a GPU has done its work. */
const lookCountMax = 5000;

/** Asks until the answer is `""`, which it has to be some day. */
async function eventually(expected: string, ask: () => string): Promise<void> {
  let seen = ask();
  for (let look = 0; seen !== "" && look < lookCountMax; look++) {
    await Bun.sleep(2);
    // What Workers have dropped may lie in this thread's garbage, too.
    if (look % 500 === 499) Bun.gc(true);
    seen = ask();
  }
  if (seen !== "") throw new StormFailure(expected, seen);
}

function freePointers(board: Board, threadCount: number): PointerRecord[] {
  const lost: PointerRecord[] = [];
  for (let threadIndex = 0; threadIndex < threadCount; threadIndex++) {
    for (const record of board.pointersOf(threadIndex)) {
      if (record === null) continue;
      const { address, deviceId } = record;
      if (address === 0) lost.push(record);
      else if (deviceId >= 0) CudaMemoryManager.free(address as Pointer, deviceId);
      else PinnedMemoryManager.free(address as Pointer);
    }
  }
  return lost;
}

/** The bytes that Workers may have had, which were ended before they could tell of their pointers. */
function lostByteSize(lost: readonly PointerRecord[], deviceId: number): number {
  return lost
    .filter((record) => record.deviceId === deviceId)
    .reduce((sum, { byteSize }) => sum + 512 * Math.ceil(byteSize / 512), 0);
}

function statsOf(deviceId: number): PoolStats | null {
  try {
    return deviceId < 0 ? PinnedMemoryManager.stats() : CudaMemoryManager.stats(deviceId);
  } catch {
    return null; // there is no pool
  }
}

/** @param mayHaveLostHandles Whether a Worker may have detached memory and told nobody. */
async function checkPools(
  board: Board,
  lost: readonly PointerRecord[],
  mayHaveLostHandles: boolean,
): Promise<void> {
  for (const deviceId of [-1, ...gpusWithPools]) {
    const name = deviceId < 0 ? "the pinned pool" : `the pool of GPU ${deviceId}`;
    const usedByteSizeMax = lostByteSize(lost, deviceId);
    // Where CUDA has refused to take something back, that is still there.
    const mayBeSetAside = board.destroyFaultCount > 0;
    const expected = `at most ${usedByteSizeMax} bytes in use in ${name}, and none set aside`;
    await eventually(expected, () => {
      const stats = statsOf(deviceId);
      if (stats === null) return "";
      const detachedByteSize = mayHaveLostHandles ? stats.detachedByteSize : 0;
      const isUsed = stats.usedByteSize - detachedByteSize > usedByteSizeMax;
      const isSetAside = stats.setAsideByteSize > 0 && !mayBeSetAside;
      return isUsed || isSetAside ? JSON.stringify(stats) : "";
    });
    const stats = statsOf(deviceId);
    if (stats !== null) checkStats(name, stats);
  }
}

/** @throws {StormFailure} Where an account has memory, though there is none. */
function checkAccounts(): void {
  for (const account of MemoryAccount.all()) {
    const stats = account.stats();
    if (stats.usedByteSize === 0 && stats.allocationCount === 0) continue;
    throw new StormFailure(`nothing on account ${account.name}`, JSON.stringify(stats));
  }
}

/** Resets both managers; what a fault has prevented is done the second time. */
export function resetManagers(): void {
  CudartSimulator.clearFaults();
  for (const manager of [CudaMemoryManager, PinnedMemoryManager]) {
    try {
      manager.reset();
    } catch {
      manager.reset();
    }
  }
}

/** How many streams there may be for good, of Workers that were ended before they could tell. */
let lostStreamCount = 0;

/** Destroys the streams that are not the package's: nobody uses them any more. */
function destroyStreams(board: Board, threadCount: number): void {
  for (let threadIndex = 0; threadIndex < threadCount; threadIndex++) {
    for (const handle of board.streamsOf(threadIndex)) {
      if (handle === streamInBetween) lostStreamCount++;
      else if (handle !== 0) destroyStream(handle);
    }
  }
}

/** What the simulator has, as text; `""` where that is nothing. */
function leftInSimulator(): string {
  const { streamCount, eventCount } = CudartSimulator.liveHandles();
  const figures: [string, number][] = [
    ["streams", Math.max(0, streamCount - lostStreamCount)],
    ["events", eventCount],
    ["bytes of pinned memory", CudartSimulator.liveHostMemory().byteSize],
    ...gpusWithPools.map((gpu): [string, number] => [
      `bytes of GPU ${gpu}`,
      CudartSimulator.liveDeviceMemory(gpu).byteSize,
    ]),
  ];
  return figures
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${count} ${name}`)
    .join(", ");
}

/**
 * Gives back what is left to give back, and checks that nothing else is there.
 *
 * @param mayHaveLostHandles Whether a Worker may have detached memory and told nobody.
 * @throws {StormFailure}
 */
export async function checkQuiet(
  board: Board,
  round: RoundPlan,
  mayHaveLostHandles: boolean,
): Promise<void> {
  CudartSimulator.clearFaults();
  CudartSimulator.setDelay({});
  Bun.gc(true);
  destroyStreams(board, round.threadCount);
  await checkPools(board, freePointers(board, round.threadCount), mayHaveLostHandles);
  resetManagers();
  checkAccounts();
  // Where CUDA has refused to take something back, that is still there.
  if (board.destroyFaultCount > 0) return;
  await eventually("nothing left in CUDA after the resets", () => {
    const left = leftInSimulator();
    if (left !== "") resetManagers();
    return left;
  });
}
