// Guarantees that are checked in a process that does nothing else. Whatever is done to a GPU, it
// has to be found afterwards as it was before.

import assert from "node:assert/strict";
import { tell } from "../../../harness/child/messages.ts";
import type { Finding } from "../../../harness/run/findings.ts";
import {
  AllocatedMemory,
  copyBuffer,
  createMemoryManagers,
  CudaMemoryManager,
  logged,
  PinnedMemoryManager,
} from "../../../test/support/package.ts";
import * as cuda from "../../cuda.ts";

export const mebibyte = 1024 ** 2;

/** The size of the smallest pools that are made here. */
export const poolByteSize = 64 * mebibyte;

/**
 * The change of a GPU's free memory that is tolerated. The driver takes memory in chunks of
 * 2 MiB, and may keep one or two that its own small blocks, such as the page tables of pinned
 * memory, are in. A pool that was not given back is at least eight times as much.
 */
const freeByteSizeTolerance = 8 * mebibyte;

const deviceIds = Array.from({ length: cuda.deviceCount() }, (_, deviceId) => deviceId);

interface DeviceState {
  currentDevice: number;
  lastError: number;
  freeByteSizes: number[];
}

function deviceState(): DeviceState {
  return {
    lastError: cuda.lastError(), // first, before another call of this function could set it
    currentDevice: cuda.currentDevice(),
    freeByteSizes: deviceIds.map((deviceId) => cuda.memoryInfo(deviceId).freeByteSize),
  };
}

/** Returns by how many bytes free memory differs where it does so most. */
function requireUnchanged(before: DeviceState, after: DeviceState): number {
  assert.equal(after.lastError, 0, `a CUDA error was left behind: ${after.lastError}`);
  assert.equal(after.currentDevice, before.currentDevice, "another GPU is current than before");
  const changes = deviceIds.map((id) => after.freeByteSizes[id]! - before.freeByteSizes[id]!);
  for (const [deviceId, change] of changes.entries()) {
    const text = `free memory of GPU ${deviceId} changed by ${change} bytes`;
    assert.ok(Math.abs(change) <= freeByteSizeTolerance, text);
  }
  return changes.reduce((most, change) => (Math.abs(change) > Math.abs(most) ? change : most), 0);
}

function resetManagers(): void {
  CudaMemoryManager.reset();
  PinnedMemoryManager.reset();
}

/** Bytes that are recognized when they come back. */
function pattern(byteSize: number, seed: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: byteSize }, (_, index) => (index * 31 + seed) & 0xff);
}

/** Creates both managers on these GPUs, moves bytes through every pool and resets the managers. */
export function createUseReset(gpus: readonly number[]): void {
  using _ = createMemoryManagers({
    cudaMemoryPoolByteSize: Object.fromEntries(gpus.map((gpu) => [gpu, poolByteSize])),
    pinnedMemoryPoolByteSize: poolByteSize,
  });
  for (const gpu of gpus) {
    using onGpu = new AllocatedMemory(mebibyte, "GPU", gpu);
    using pinned = new AllocatedMemory(mebibyte, "CPU_PINNED");
    assert.deepEqual(
      [onGpu.memoryType, onGpu.memoryTypeId, pinned.memoryType],
      ["GPU", gpu, "CPU_PINNED"],
    );
    const bytes = pattern(mebibyte, gpu);
    const back = new Uint8Array(mebibyte);
    onGpu.write(bytes);
    copyBuffer(pinned, onGpu);
    pinned.read(back);
    assert.ok(
      Buffer.from(back).equals(bytes),
      `bytes that went through GPU ${gpu} came back other`,
    );
  }
}

/**
 * Checks a guarantee and says how it went. The first broken guarantee ends the process.
 *
 * @param body May make managers. It throws where the guarantee is broken; it returns what it saw.
 */
export async function check(name: string, body: () => string | Promise<string>): Promise<void> {
  try {
    const before = deviceState();
    logged.length = 0;
    const seen = await body();
    resetManagers();
    const change = requireUnchanged(before, deviceState());
    const detail = `${seen}; free memory changed by ${change} bytes`;
    tell<Finding>({ kind: "check", name, isKept: true, detail });
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    tell<Finding>({ kind: "check", name, isKept: false, detail });
    process.exit(1);
  }
}

export function skip(name: string, reason: string): void {
  tell<Finding>({ kind: "skipped", name, reason });
}
