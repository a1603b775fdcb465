// Every CUDA call of a resize is failed in turn: the pool has its new size, or is as it was.

import { describe, expect, test } from "bun:test";
import { CudaMemoryManager, MemoryError } from "../../src/index.ts";
import { CudartSimulator, type SimulatedFunction } from "../../src/simulator.ts";
import { isSimulated, logged } from "../support/runtime.ts";
import { functions } from "./scenarios.ts";
import { resetSimulatorAfterEach } from "./slow-gpu.ts";

resetSimulatorAfterEach();

/** The memory of GPU 0. */
const gpuByteSize = 2 ** 30;

const nothing = { blockCount: 0, byteSize: 0 };

function capacity(): number {
  try {
    return CudaMemoryManager.stats(0).capacityByteSize;
  } catch {
    return 0;
  }
}

interface Failure {
  readonly name: SimulatedFunction;
  readonly nth: number;
  readonly error: number;
}

/** Resizes a new pool, with a call that fails. Returns the message of what was thrown. */
function resize(from: number, to: number, failure?: Failure): string | null {
  CudaMemoryManager.create({ memoryPoolByteSize: { 0: from } });
  if (failure !== undefined) {
    CudartSimulator.failCall({ function: failure.name, nth: failure.nth, error: failure.error });
  }
  try {
    CudaMemoryManager.resize(0, to);
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(MemoryError);
    expect((error as MemoryError).code).toBe("INTERNAL");
    return (error as MemoryError).message;
  } finally {
    CudartSimulator.clearFaults();
  }
}

/** All of the pool can be had, and what is left of others is not lost. */
function expectSound(byteSize: number): void {
  if (byteSize > 0) CudaMemoryManager.free(CudaMemoryManager.alloc(byteSize, 0), 0);
  CudaMemoryManager.reset();
  expect(CudartSimulator.liveDeviceMemory(0)).toEqual(nothing);
}

function callsOf(from: number, to: number): [SimulatedFunction, number][] {
  CudaMemoryManager.create({ memoryPoolByteSize: { 0: from } });
  const before = functions.map((name) => CudartSimulator.callCount(name));
  CudaMemoryManager.resize(0, to);
  const calls = functions.map((name, i): [SimulatedFunction, number] => [
    name,
    CudartSimulator.callCount(name) - before[i]!,
  ]);
  expect(capacity()).toBe(to);
  expectSound(to);
  return calls.filter(([, count]) => count > 0);
}

describe.skipIf(!isSimulated)("a resize whose CUDA calls fail (on the simulator only)", () => {
  test.each([
    ["to a larger pool beside it", 4096, 8192],
    ["to a smaller pool", 8192, 4096],
    ["to a first pool", 0, 4096],
    ["to no pool", 4096, 0],
    ["to a larger pool in its place", 0.75 * gpuByteSize, 0.875 * gpuByteSize],
    ["to a smaller pool in its place", 0.875 * gpuByteSize, 0.75 * gpuByteSize],
  ])("%s", (_, from, to) => {
    const calls = callsOf(from, to);
    let thrownCount = 0;
    for (const [name, count] of calls) {
      for (let nth = 1; nth <= count; nth++) {
        for (const error of [2, 999]) {
          const where = `${name} #${nth} -> ${error}`;
          const message = resize(from, to, { name, nth, error });
          if (message === null) {
            expect(capacity(), where).toBe(to);
          } else {
            thrownCount++;
            expect(message, where).toContain(`${name} returned`);
            expect(capacity(), `${where}: ${message}`).toBe(from);
          }
          expectSound(capacity());
        }
      }
    }
    expect(thrownCount).toBeGreaterThan(0);
  });

  test("memory that is not given back is tried again, and told of", () => {
    // The first call is that of a reservation which lies between two granules.
    const nth = callsOf(4096, 8192).find(([name]) => name === "cudaFree")![1];
    expect(resize(4096, 8192, { name: "cudaFree", nth, error: 999 })).toBeNull();
    expect(logged.warn).toEqual([expect.stringContaining("cudaFree returned cudaErrorUnknown")]);
    expect(CudaMemoryManager.stats(0).capacityByteSize).toBe(8192);
    expect(CudartSimulator.liveDeviceMemory(0).blockCount).toBe(1);
    CudaMemoryManager.reset();

    expect(resize(4096, 0, { name: "cudaFree", nth: 1, error: 999 })).toBeNull();
    expect(logged.warn).toHaveLength(2);
    CudaMemoryManager.resize(0, 1024 ** 2);
    expect(CudartSimulator.liveDeviceMemory(0)).toEqual({ blockCount: 1, byteSize: 1024 ** 2 });
  });

  test("a pool that cannot be made again says that it is gone", () => {
    CudaMemoryManager.create({ memoryPoolByteSize: { 0: 0.75 * gpuByteSize } });
    CudartSimulator.failCall({ function: "cudaMalloc", nth: 2, error: 2 });
    CudartSimulator.failCall({ function: "cudaMalloc", nth: 3, error: 2 });
    expect(() => CudaMemoryManager.resize(0, 0.875 * gpuByteSize)).toThrow(
      `GPU 0 has no CUDA memory pool any more: that of ${0.75 * gpuByteSize} bytes`,
    );
    expect(capacity()).toBe(0);
    expect(CudartSimulator.liveDeviceMemory(0)).toEqual(nothing);
    CudaMemoryManager.resize(0, 4096);
    expectSound(4096);
  });
});
