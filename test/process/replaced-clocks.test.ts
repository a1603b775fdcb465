// Tests replace clocks and timers. What waits for a GPU goes on all the same.

import { describe, expect, jest, test } from "bun:test";
import { AllocatedMemory, copyBuffer, createMemoryManagers, CudaStream } from "../../src/index.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { CudartSimulator } from "../../src/simulator.ts";
import { runWithPackage } from "../support/package.ts";
import { isSimulated } from "../support/runtime.ts";

const simulator = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };

type Exports = Pick<
  typeof import("../support/package.ts"),
  "AllocatedMemory" | "copyBuffer" | "createMemoryManagers" | "CudaStream" | "CudartSimulator"
>;

/** Waits in every way, for a GPU that is slow, too. Returns how many bytes came back. */
async function waitInEveryWay(exports: Exports): Promise<number> {
  const { CudartSimulator: gpu, copyBuffer: copy } = exports;
  using _managers = exports.createMemoryManagers();
  using stream = new exports.CudaStream(0);
  using tensor = new exports.AllocatedMemory(16 << 20, "GPU");
  using host = new exports.AllocatedMemory(16 << 20, "CPU_PINNED");
  const bytes = new Uint8Array(16 << 20).fill(5);
  await tensor.writeAsync(bytes);
  await host.writeAsync(bytes, 0, { stream });
  gpu.setDelay({ operationNs: 20_000_000 });
  copy(tensor, host, { stream });
  await stream.finished();
  const back = new Uint8Array(16 << 20);
  await tensor.readAsync(back, 0, { stream });
  gpu.setDelay({});
  return back.filter((byte) => byte === 5).length;
}

test("functions that are replaced after the import are not called", () => {
  const source = `async (exports) => {
    const never = () => 0;
    for (const name of ["setImmediate", "setTimeout", "setInterval", "queueMicrotask"]) {
      globalThis[name] = never;
    }
    for (const timers of ["node:timers", "node:timers/promises"]) {
      const module = process.getBuiltinModule(timers);
      for (const name of ["setImmediate", "setTimeout"]) module[name] = () => new Promise(never);
    }
    Bun.sleep = () => new Promise(never);
    Bun.nanoseconds = never;
    performance.now = never;
    Date.now = never;
    Atomics.waitAsync = never;
    return await (${String(waitInEveryWay)})(exports);
  }`;
  const body = { toString: () => source } as unknown as (exports: Exports) => Promise<number>;
  expect(runWithPackage(simulator, body)).toBe(16 << 20);
}, 20_000);

test("neither are those that were replaced before", () => {
  const source = `async () => {
    const never = () => 0;
    const real = { ...globalThis.process.getBuiltinModule("node:timers") };
    globalThis.setImmediate = (callback) => 0;
    globalThis.setTimeout = (callback) => 0;
    Bun.sleep = () => new Promise((resolve) => {});
    const alive = real.setInterval(() => {}, 1000);
    const exports = await import(${JSON.stringify(`${import.meta.dir}/../../src/index.ts`)} + "?again");
    const { CudartSimulator } = await import(${JSON.stringify(`${import.meta.dir}/../../src/simulator.ts`)});
    const count = await (${String(waitInEveryWay)})({ ...exports, CudartSimulator });
    real.clearInterval(alive);
    return count;
  }`;
  const path = JSON.stringify(`${import.meta.dir}/../support/process.ts`);
  const program = `console.log(await (${source})()); process.exit(0);`;
  expect(path).toContain("process.ts");
  const child = Bun.spawnSync([process.execPath, "-e", program], {
    env: { ...process.env, ...simulator },
    stderr: "inherit",
  });
  expect(child.stdout.toString().trim()).toBe(String(16 << 20));
}, 20_000);

describe.skipIf(!isSimulated)("fake timers (on the simulator only)", () => {
  test("stop no wait, whenever they come", async () => {
    const exports = { AllocatedMemory, copyBuffer, createMemoryManagers, CudaStream };
    jest.useFakeTimers();
    try {
      expect(await waitInEveryWay({ ...exports, CudartSimulator })).toBe(16 << 20);
      jest.setSystemTime(0);
      jest.advanceTimersByTime(1e9);
      expect(await waitInEveryWay({ ...exports, CudartSimulator })).toBe(16 << 20);
    } finally {
      jest.useRealTimers();
    }
    const waits = waitInEveryWay({ ...exports, CudartSimulator });
    await Bun.sleep(5);
    jest.useFakeTimers();
    try {
      expect(await waits).toBe(16 << 20);
    } finally {
      jest.useRealTimers();
    }
  }, 20_000);
});
