// A thread that ends, however it ends, gives back what it held; what it handed over, and what is the
// process's, stays.

import { afterEach, describe, expect, test } from "bun:test";
import { dlopen, type Pointer } from "bun:ffi";
import {
  AllocatedMemory,
  createMemoryManagers,
  CudaMemoryManager,
  CudaStream,
  type MemoryHandle,
  PinnedMemoryManager,
} from "../../src/index.ts";
import { cudartPath } from "../../src/native/cudart.ts";
import { extraCudartSymbols } from "../../src/native/cudart-symbols.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { expectMemoryError } from "../support/expectations.ts";
import { isSimulated, resetAfterEach } from "../support/runtime.ts";
import type { Ending, Task } from "./ending-worker.ts";

resetAfterEach();
afterEach(() => {
  if (!isSimulated) return;
  CudartSimulator.setDelay({ operationNs: 0 });
  CudartSimulator.clearFaults();
});

const mebibyte = 1024 ** 2;

interface Answer {
  handle: MemoryHandle | null;
  pointers: [Pointer, Pointer];
}

/** Runs a Worker to its end. */
async function runToItsEnd(ending: Ending, task: Partial<Task> = {}): Promise<Answer> {
  const worker = new Worker(new URL("./ending-worker.ts", import.meta.url));
  const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
  const answer = await new Promise<Answer>((resolve) => {
    worker.onmessage = ({ data }) => resolve(data as Answer);
    worker.onerror = (event) => event.preventDefault();
    worker.postMessage({ ending, ...task } satisfies Task);
  });
  if (ending === "terminate" || ending === "spin" || ending === "end") worker.terminate();
  await closed;
  return answer;
}

function figures() {
  const cuda = CudaMemoryManager.stats(0);
  const pinned = PinnedMemoryManager.stats();
  return {
    cudaByteSize: cuda.usedByteSize,
    cudaCount: cuda.allocationCount,
    pinnedByteSize: pinned.usedByteSize,
    pinnedCount: pinned.allocationCount,
    nonpinnedByteSize: pinned.nonpinnedByteSize,
    setAsideByteSize: cuda.setAsideByteSize + pinned.setAsideByteSize,
    detachedByteSize: cuda.detachedByteSize + pinned.detachedByteSize,
    streamCount: CudartSimulator.liveHandles().streamCount,
  };
}

/** Waits for the figures to be what they were: a thread ends a moment after its Worker is closed. */
async function expectFigures(wanted: object, milliseconds = 3000): Promise<void> {
  const end = performance.now() + milliseconds;
  while (!Bun.deepEquals(figures(), wanted) && performance.now() < end) await Bun.sleep(5);
  expect(figures()).toEqual(wanted as ReturnType<typeof figures>);
}

function createPools(): void {
  createMemoryManagers({
    cudaMemoryPoolByteSize: { 0: 64 * mebibyte, 1: 0 },
    pinnedMemoryPoolByteSize: 64 * mebibyte,
  });
}

const nothingHeld = {
  cudaByteSize: 0,
  cudaCount: 0,
  pinnedByteSize: 0,
  pinnedCount: 0,
  nonpinnedByteSize: 0,
  setAsideByteSize: 0,
  detachedByteSize: 0,
  streamCount: 0,
};

describe.skipIf(!isSimulated)("a thread that ends (on the simulator only)", () => {
  const endings: Ending[] = ["terminate", "throw", "exit", "end", "spin"];

  test.each(endings)("by %s gives back what it held", async (ending) => {
    createPools();
    CudartSimulator.setDelay({ operationNs: 3_000_000 });
    const { pointers } = await runToItsEnd(ending);
    CudaMemoryManager.free(pointers[0], 0);
    PinnedMemoryManager.free(pointers[1]);
    await expectFigures(nothingHeld);
  });

  test("leaves no event where CUDA refuses to destroy one meanwhile", async () => {
    createMemoryManagers({
      cudaMemoryPoolByteSize: { 0: 64 * mebibyte },
      pinnedMemoryPoolByteSize: 64 * mebibyte,
    });
    CudartSimulator.setDelay({ operationNs: 50_000_000 });
    CudartSimulator.failCall({ function: "cudaEventDestroy", error: "cudaErrorUnknown" });
    await runToItsEnd("exit");
    const end = performance.now() + 3000;
    while (figures().streamCount > 0 && performance.now() < end) await Bun.sleep(5);
    CudartSimulator.clearFaults();
    CudaMemoryManager.reset();
    PinnedMemoryManager.reset();
    expect(CudartSimulator.liveHandles()).toEqual({ streamCount: 0, eventCount: 0 });
  });

  // What a clean-up calls, besides what gives streams and events back.
  const cleaningFunctions = [
    "cudaEventCreateWithFlags",
    "cudaEventRecord",
    "cudaStreamWaitEvent",
    "cudaStreamIsCapturing",
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventQuery",
    "cudaStreamQuery",
  ] as const;

  test.each([1, 2, 3, 7])(
    "gives all back where CUDA refuses everything %d times meanwhile",
    async (failureCount) => {
      createPools();
      CudartSimulator.setDelay({ operationNs: 3_000_000 });
      const { pointers } = await runToItsEnd("exit");
      CudaMemoryManager.free(pointers[0], 0);
      PinnedMemoryManager.free(pointers[1]);
      for (let nth = 1; nth <= failureCount; nth++) {
        for (const name of cleaningFunctions) {
          CudartSimulator.failCall({ function: name, nth, error: "cudaErrorInvalidValue" });
        }
      }
      await expectFigures(nothingHeld);
      CudartSimulator.clearFaults(); // some are left where nothing was waited for
    },
  );

  test("gives nothing back that a GPU may still use, for all that CUDA tells", async () => {
    createPools();
    CudartSimulator.setDelay({ operationNs: 300_000_000 });
    const { pointers } = await runToItsEnd("exit");
    CudaMemoryManager.free(pointers[0], 0);
    PinnedMemoryManager.free(pointers[1]);
    const waits = ["cudaStreamIsCapturing", "cudaStreamSynchronize", "cudaDeviceSynchronize"];
    for (const name of waits as (typeof cleaningFunctions)[number][]) {
      for (let nth = 1; nth <= 9; nth++) {
        CudartSimulator.failCall({ function: name, nth, error: "cudaErrorInvalidValue" });
      }
    }
    const end = performance.now() + 100;
    while (performance.now() < end) {
      expect(figures().cudaCount).toBe(2);
      await Bun.sleep(5);
    }
    CudartSimulator.clearFaults();
    await expectFigures(nothingHeld);
  });

  test("in the middle of a capture ends that, and gives back what it held", async () => {
    createPools();
    CudartSimulator.setDelay({ operationNs: 3_000_000 });
    const { pointers } = await runToItsEnd("capture");
    CudaMemoryManager.free(pointers[0], 0);
    PinnedMemoryManager.free(pointers[1]);
    await expectFigures(nothingHeld);
    CudaMemoryManager.reset();
    CudaMemoryManager.create({ memoryPoolByteSize: { 0: mebibyte } });
  });

  test("in the middle of a capture makes no request wait for the GPU", async () => {
    createPools();
    CudartSimulator.setDelay({ operationNs: 1_000_000_000 });
    const { pointers } = await runToItsEnd("capture");
    CudaMemoryManager.free(pointers[0], 0);
    PinnedMemoryManager.free(pointers[1]);
    const begin = performance.now();
    while (performance.now() < begin + 100) {
      for (const type of ["GPU", "CPU_PINNED"] as const) {
        expectMemoryError("OUT_OF_MEMORY", () => {
          new AllocatedMemory(64 * mebibyte, type, 0, { fallback: "none" });
        });
      }
      await Bun.sleep(5); // the thread ends a moment after its Worker is closed
    }
    expect(performance.now()).toBeLessThan(begin + 500);
    expect(figures().cudaCount).toBeGreaterThan(0);
    await expectFigures(nothingHeld, 20_000);
  }, 30_000);

  test.each(["lives", "is gone", "is captured"])(
    "gives back what somebody else's stream used, which %s",
    async (state) => {
      createPools();
      CudartSimulator.setDelay({ operationNs: 100_000_000 });
      const owner = new CudaStream(0);
      using other = new CudaStream(0);
      const { pointers } = await runToItsEnd("exit", { handle: owner.handle });
      CudaMemoryManager.free(pointers[0], 0);
      PinnedMemoryManager.free(pointers[1]);
      if (state === "is gone") owner[Symbol.dispose](); // before anybody has looked
      if (state === "is captured") {
        const { cudaStreamBeginCapture } = dlopen(cudartPath()!, extraCudartSymbols).symbols;
        expect(cudaStreamBeginCapture(other.handle, 0)).toBe(0);
        // A wait for the GPU would end the capture, so what the Worker had stays meanwhile.
        for (let i = 0; i < 60; i++) {
          expect(figures().cudaCount).toBeGreaterThan(0);
          await Bun.sleep(5);
        }
        const { cudaStreamEndCapture, cudaGraphDestroy } = dlopen(
          cudartPath()!,
          extraCudartSymbols,
        ).symbols;
        const graph = new BigUint64Array(1);
        expect(cudaStreamEndCapture(other.handle, graph)).toBe(0);
        expect(cudaGraphDestroy(Number(graph[0]) as Pointer)).toBe(0);
      }
      await expectFigures({ ...nothingHeld, streamCount: state === "is gone" ? 1 : 2 });
      if (state !== "is gone") owner.synchronize();
      owner[Symbol.dispose]();
    },
  );

  test("leaves what it handed over to whoever attaches it", async () => {
    createPools();
    const { handle, pointers } = await runToItsEnd("terminate", { isDetaching: true });
    CudaMemoryManager.free(pointers[0], 0);
    PinnedMemoryManager.free(pointers[1]);
    const end = performance.now() + 5000;
    while (CudaMemoryManager.stats(0).allocationCount > 1 && performance.now() < end) {
      await Bun.sleep(5);
    }
    expect(CudaMemoryManager.stats(0).detachedByteSize).toBe(mebibyte);
    using attached = AllocatedMemory.attach(handle!);
    attached.fill(3);
    expect(CudaMemoryManager.stats(0)).toMatchObject({ allocationCount: 1, detachedByteSize: 0 });
  });

  // A thread may be terminated between any two calls of the native library.
  test("in the middle of making a view holds no memory with it", async () => {
    createPools();
    const terminate = async (_: unknown, index: number) => {
      const worker = new Worker(new URL("./viewing-worker.ts", import.meta.url));
      const closed = new Promise((resolve) => worker.addEventListener("close", resolve));
      await new Promise((resolve) => worker.addEventListener("message", resolve));
      await Bun.sleep(1 + index);
      worker.terminate();
      await closed;
    };
    for (let i = 0; i < 30; i++) await Promise.all(Array.from({ length: 4 }, terminate));
    await expectFigures(nothingHeld);
  }, 60_000);

  test("again and again leaves every figure where it was", async () => {
    createPools();
    CudartSimulator.setDelay({ operationNs: 1_000_000 });
    const count = 60;
    for (let i = 0; i < count; i += 4) {
      const answers = await Promise.all(
        Array.from({ length: 4 }, (_, j) => runToItsEnd(endings[(i + j) % endings.length]!)),
      );
      for (const { pointers } of answers) {
        CudaMemoryManager.free(pointers[0], 0);
        PinnedMemoryManager.free(pointers[1]);
      }
    }
    await expectFigures(nothingHeld);
    // Released events are kept for whoever needs one next, no more than were in use at once.
    expect(CudartSimulator.liveHandles().eventCount).toBeLessThan(200);
  }, 60_000);
});
