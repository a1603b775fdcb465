// Every CUDA call that the package makes is failed in turn: nothing may leak, nothing may be half
// made, the error must name the call, and afterwards everything must work.

import { describe, expect, test } from "bun:test";
import {
  AllocatedMemory,
  type AllocatedMemoryOptions,
  copyBuffer,
  createMemoryManagers,
  CudaMemoryManager,
  CudaStream,
  getSupportedGpus,
  PinnedMemoryManager,
  pointerAttributes,
} from "../../src/index.ts";
import { MemoryError } from "../../src/memory-error.ts";
import { cudart } from "../../src/native/cudart.ts";
import { cudartSymbols } from "../../src/native/cudart-symbols.ts";
import { CudartSimulator, type SimulatedFunction } from "../../src/simulator.ts";
import { logged, resetAfterEach } from "../support/memory.ts";

resetAfterEach();

const isSimulated = process.env["BUN_CUDA_MEMORY_CUDART"]?.endsWith("libcudart_sim.so") ?? false;

/** Errors that mean something of their own in one place or another, and one that nowhere does. */
const errors = [2, 34, 35, 100, 101, 999];

const functions = Object.entries(cudartSymbols)
  .filter(([, { returns }]) => returns === "i32")
  .map(([name]) => name as SimulatedFunction)
  // Its result is the error that is being cleared; there is nothing to fail.
  .filter((name) => name !== "cudaGetLastError");

interface Scenario {
  name: string;
  prepare?: () => void;
  run: () => void;
  /** Whether a failed call may go unnoticed because the scenario does without it. */
  mayTolerate?: (name: SimulatedFunction, error: number) => boolean;
}

const pools = { memoryPoolByteSize: { 0: 1024, 1: 2048 } };

function meansNoDevice(name: SimulatedFunction, error: number): boolean {
  return name === "cudaGetDeviceCount" && [34, 35, 100].includes(error);
}

function withMemories(use: (memories: AllocatedMemory[]) => void): void {
  const memories = [
    new AllocatedMemory(600, "GPU", 0),
    new AllocatedMemory(600, "GPU", 1),
    new AllocatedMemory(600, "CPU_PINNED"),
  ];
  try {
    use(memories);
  } finally {
    for (const memory of memories) memory.free();
  }
}

function withStream(use: (stream: CudaStream) => void): void {
  const stream = new CudaStream(1);
  try {
    use(stream);
    stream.synchronize();
  } finally {
    stream[Symbol.dispose]();
  }
}

/** All of GPU 1's pool, written to and freed on the stream. */
function useAll(stream: CudaStream, options: AllocatedMemoryOptions | undefined): void {
  using source = new AllocatedMemory(512, "CPU_PINNED");
  const memory = new AllocatedMemory(2048, "GPU", 1, options);
  copyBuffer(memory, source, { stream });
  try {
    memory.free(stream);
  } catch (error) {
    stream.synchronize();
    memory.free();
    throw error;
  }
  stream.isDone();
}

function createBoth(): void {
  CudaMemoryManager.create(pools);
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 4096 });
}

const scenarios: Scenario[] = [
  {
    name: "getSupportedGpus",
    run: () => void getSupportedGpus(),
    mayTolerate: meansNoDevice,
  },
  {
    name: "pointerAttributes",
    prepare: createBoth,
    run: () => {
      const pointer = CudaMemoryManager.alloc(512, 0);
      try {
        pointerAttributes(pointer);
      } finally {
        CudaMemoryManager.free(pointer, 0);
      }
    },
    mayTolerate: meansNoDevice,
  },
  {
    name: "CudaMemoryManager.create",
    run: () => CudaMemoryManager.create(pools),
    mayTolerate: meansNoDevice,
  },
  {
    name: "CudaMemoryManager.reset",
    prepare: () => CudaMemoryManager.create(pools),
    run: () => CudaMemoryManager.reset(),
  },
  {
    name: "PinnedMemoryManager.create",
    run: () => PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 4096 }),
    mayTolerate: (name) => name === "cudaHostAlloc", // a warning, by contract
  },
  {
    name: "PinnedMemoryManager.reset",
    prepare: () => PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 4096 }),
    run: () => PinnedMemoryManager.reset(),
  },
  {
    name: "createMemoryManagers",
    run: () => createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 1024 } })[Symbol.dispose](),
    mayTolerate: () => true, // logged, by contract: the server starts without
  },
  {
    name: "allocation and release",
    prepare: createBoth,
    run: () => withMemories(() => {}),
  },
  {
    name: "write, read and copy",
    prepare: createBoth,
    run: () =>
      withMemories((memories) => {
        for (const memory of memories) {
          memory.write(new Uint8Array(600));
          memory.read(new Uint8Array(600));
          memory.fill(1);
          for (const other of memories) if (other !== memory) copyBuffer(other, memory);
        }
      }),
  },
  {
    name: "a stream's life",
    prepare: createBoth,
    run: () => {
      const stream = new CudaStream(1);
      try {
        stream.isDone();
        stream.synchronize();
      } finally {
        stream[Symbol.dispose]();
      }
    },
  },
  {
    name: "work on a stream",
    prepare: createBoth,
    run: () =>
      withStream((stream) =>
        withMemories((memories) => {
          for (const memory of memories) {
            for (const other of memories) {
              if (other !== memory) copyBuffer(other, memory, { stream });
            }
          }
          stream.synchronize();
        }),
      ),
  },
  {
    name: "waiting for memory that a stream still uses",
    prepare: () => {
      createBoth();
      CudartSimulator.setDelay({ operationNs: 200_000 });
    },
    run: () =>
      withStream((stream) => {
        const ways = [undefined, { stream }, { whenFull: "fallBack" } as const];
        for (const options of [undefined, ...ways]) useAll(stream, options);
      }),
  },
  {
    name: "making a stream wait for another",
    prepare: () => {
      createBoth();
      CudartSimulator.setDelay({ operationNs: 200_000 });
    },
    run: () =>
      withStream((stream) =>
        withStream((other) => {
          useAll(stream, undefined);
          useAll(other, { stream: other });
        }),
      ),
  },
  {
    name: "a reset with work under way",
    prepare: () => {
      createBoth();
      CudartSimulator.setDelay({ operationNs: 200_000 });
      const stream = new CudaStream(1);
      useAll(stream, undefined);
      stream[Symbol.dispose]();
    },
    run: () => {
      CudaMemoryManager.reset();
      PinnedMemoryManager.reset();
    },
  },
];

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

function reset(): void {
  CudartSimulator.clearFaults();
  CudartSimulator.setDelay({});
  CudaMemoryManager.reset();
  PinnedMemoryManager.reset();
}

function currentDevice(): number {
  const device = new Int32Array(1);
  expect(cudart()!.cudaGetDevice(device)).toBe(0);
  return device[0]!;
}

function expectNothingReserved(): void {
  const nothing = { blockCount: 0, byteSize: 0 };
  expect(CudartSimulator.liveDeviceMemory(0)).toEqual(nothing);
  expect(CudartSimulator.liveDeviceMemory(1)).toEqual(nothing);
  expect(CudartSimulator.liveHostMemory()).toEqual(nothing);
}

interface Outcome {
  thrown: unknown;
  /** Whether the call was made that had to fail. */
  isFailed: boolean;
}

function runWithFailure(
  scenario: Scenario,
  name: SimulatedFunction,
  nth: number,
  error: number,
): Outcome {
  // Where making a GPU current again failed, another one still is.
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

/** A slow GPU is sometimes not slow enough for what is slow here: then it takes another way. */
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
  const tolerated = scenario.mayTolerate?.(name, error) ?? false;
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

  // The failure is noted, so the thread's next user of CUDA does not find it.
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
    // Called once per thread, when the runtime is looked for.
    const atLoad = new Set(["cudaRuntimeGetVersion", "cudaDriverGetVersion"]);
    expect(functions.filter((name) => !failed.has(name) && !atLoad.has(name))).toEqual([]);
  });

  test("the current device is the same before and after everything", () => {
    for (const device of [1, 2, 0]) {
      expect(cudart()!.cudaSetDevice(device)).toBe(0);
      for (const scenario of scenarios) {
        scenario.prepare?.();
        scenario.run();
        reset();
        expect(currentDevice(), scenario.name).toBe(device);
      }
      expect(() =>
        CudaMemoryManager.create({ memoryPoolByteSize: { 0: 512, 1: 2 ** 50 } }),
      ).toThrow();
      expect(currentDevice()).toBe(device);
    }
  });

  test("an allocation makes no CUDA call", () => {
    createBoth();
    const before = functions.map((name) => CudartSimulator.callCount(name));
    withMemories(() => {});
    new AllocatedMemory(100_000, "GPU", 0).free();
    expect(functions.map((name) => CudartSimulator.callCount(name))).toEqual(before);
  });
});
