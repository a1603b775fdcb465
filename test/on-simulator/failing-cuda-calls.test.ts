// Every CUDA call that the package makes is failed in turn: nothing may leak, nothing may be half
// made, the error must name the call, and afterwards everything must work.

import { afterAll, describe, expect, test } from "bun:test";
import { CudaMemoryManager, MemoryError } from "../../src/index.ts";
import { cudart } from "../../src/native/cudart.ts";
import { CudartSimulator, type SimulatedFunction } from "../../src/simulator.ts";
import { isSimulated, logged, resetAfterEach } from "../support/runtime.ts";
import {
  createBoth,
  functions,
  meansNoDevice,
  pools,
  reset,
  type Scenario,
  scenarios,
  withMemories,
} from "./scenarios.ts";

resetAfterEach();

// Streams that were disposed of say what has failed a moment later.
afterAll(async () => {
  await Bun.sleep(50);
  for (const messages of Object.values(logged)) messages.length = 0;
});

/** The errors that the package treats specially somewhere, and 999, which it never does. */
const errors = [2, 34, 35, 100, 101, 999];

/** How often each function is called by a scenario that succeeds. */
function callsOf(scenario: Scenario): Map<SimulatedFunction, number> {
  scenario.prepare?.();
  const before = functions.map((name) => CudartSimulator.callCount(name));
  scenario.run();
  const calls = functions.map(
    (name, i) => [name, CudartSimulator.callCount(name) - before[i]!] as const,
  );
  reset();
  return new Map(calls.filter(([, count]) => count > 0));
}

function expectNothingReserved(): void {
  const nothing = { blockCount: 0, byteSize: 0 };
  expect(CudartSimulator.liveDeviceMemory(0)).toEqual(nothing);
  expect(CudartSimulator.liveDeviceMemory(1)).toEqual(nothing);
  expect(CudartSimulator.liveHostMemory()).toEqual(nothing);
}

interface Outcome {
  thrown: unknown;
  /** Whether the scenario made the call that was to fail. */
  isFailed: boolean;
}

function runWithFailure(
  scenario: Scenario,
  name: SimulatedFunction,
  nth: number,
  error: number,
): Outcome {
  // If restoring the current GPU failed in the previous run, another one is current still.
  expect(cudart()!.cudaSetDevice(0)).toBe(0);
  scenario.prepare?.();
  const callCountBefore = CudartSimulator.callCount(name);
  CudartSimulator.failCall({ function: name, nth, error });
  let thrown: unknown;
  try {
    scenario.run();
  } catch (caught) {
    thrown = caught;
  }
  return { thrown, isFailed: CudartSimulator.callCount(name) >= callCountBefore + nth };
}

/**
 * Repeats a scenario until it makes the call. On a busy machine the slow GPU may be done before the
 * package looks, which then takes a path without that call.
 */
function runUntilFailed(
  scenario: Scenario,
  name: SimulatedFunction,
  nth: number,
  error: number,
): unknown {
  for (let attempt = 0; attempt < 20; attempt++) {
    const { thrown, isFailed } = runWithFailure(scenario, name, nth, error);
    if (isFailed) return thrown;
    expect(thrown).toBeUndefined();
    reset();
    for (const messages of Object.values(logged)) messages.length = 0;
  }
  throw new Error(`${scenario.name} does not call ${name} for the ${nth}th time`);
}

function failOnce(scenario: Scenario, name: SimulatedFunction, nth: number, error: number): void {
  const thrown = runUntilFailed(scenario, name, nth, error);
  const where = `${scenario.name}: ${name} #${nth} -> ${error}`;
  // What fails in disposing of a stream is not thrown.
  const isOfDisposing = logged.error.some((message) => message.includes("a CudaStream of GPU"));
  const tolerated = isOfDisposing || (scenario.mayTolerate?.(name, error) ?? false);
  if (thrown === undefined) {
    expect(tolerated ? "" : `${where} went unnoticed`).toBe("");
    if (!meansNoDevice(name, error)) {
      expect([...logged.warn, ...logged.error].join("\n"), where).toContain(`${name} returned`);
    }
  } else {
    expect(thrown, where).toBeInstanceOf(MemoryError);
    const { code, message } = thrown as MemoryError;
    if (code !== "UNAVAILABLE" || !meansNoDevice(name, error)) {
      expect(code, where).toBe("INTERNAL");
      expect(message, where).toContain(`${name} returned cudaError`);
      expect(message, where).toContain(`(${error})`);
    }
  }
  for (const messages of Object.values(logged)) messages.length = 0;

  // The package cleared the error, so that the thread's next user of CUDA does not find it.
  expect(cudart()!.cudaGetLastError(), where).toBe(0);

  if (scenario.name === "CudaMemoryManager.create" && thrown !== undefined) {
    expectNothingReserved();
    CudaMemoryManager.create(pools);
  }
  reset();
  expectNothingReserved();
  createBoth();
  withMemories((memories) =>
    expect(memories.map((memory) => memory.memoryType)).toEqual(["GPU", "GPU", "CPU_PINNED"]),
  );
  reset();
  expectNothingReserved();
}

describe.skipIf(!isSimulated)("a failing CUDA call (on the simulator only)", () => {
  for (const scenario of scenarios) {
    test(`in ${scenario.name}`, () => {
      reset();
      const calls = callsOf(scenario);
      let failureCount = 0;
      for (const [name, count] of calls) {
        for (let nth = 1; nth <= count; nth++) {
          for (const error of errors) {
            failOnce(scenario, name, nth, error);
            failureCount++;
          }
        }
      }
      const callCount = [...calls.values()].reduce((sum, count) => sum + count, 0);
      expect(failureCount).toBe(callCount * errors.length);
      if (scenario.name !== "allocation and release") expect(callCount).toBeGreaterThan(0);
      else expect(callCount).toBe(0); // the pools need no CUDA
    });
  }

  test("when even the clean-up fails, the reservation is given back later", () => {
    CudartSimulator.failCall({ function: "cudaMalloc", nth: 2, error: 2 });
    CudartSimulator.failCall({ function: "cudaFree", nth: 1, error: 999 });
    expect(() =>
      CudaMemoryManager.create({ memoryPoolByteSize: { 0: 2 ** 20, 1: 2 ** 20 } }),
    ).toThrow(/cudaMalloc returned .*; .*cudaFree returned/);
    expect(CudartSimulator.liveDeviceMemory(0).blockCount).toBe(1);
    CudaMemoryManager.create({ memoryPoolByteSize: { 1: 2 ** 20 } });
    expect(CudartSimulator.liveDeviceMemory(0).blockCount).toBe(0);
    CudaMemoryManager.reset();
    expectNothingReserved();
  });

  test("every CUDA function of the package is failed by some scenario", () => {
    const failed = new Set(scenarios.flatMap((scenario) => [...callsOf(scenario).keys()]));
    // The package calls these once per thread, when it looks for the runtime, and the last once per
    // GPU.
    const once = new Set<string>([
      "cudaRuntimeGetVersion",
      "cudaDriverGetVersion",
      "cuDevicePrimaryCtxRetain",
    ]);
    expect(functions.filter((name) => !failed.has(name) && !once.has(name))).toEqual([]);
  });
});
