// What the package does with CUDA, one scenario for each way of using it.

import {
  AllocatedMemory,
  type AllocatedMemoryOptions,
  copyBuffer,
  createMemoryManagers,
  CudaMemoryManager,
  CudaStream,
  getDeviceMemory,
  getSupportedGpus,
  MemoryReference,
  MutableMemory,
  PinnedMemoryManager,
  pointerAttributes,
} from "../../src/index.ts";
import { cudartSymbols } from "../../src/native/cudart-symbols.ts";
import { CudartSimulator, type SimulatedFunction } from "../../src/simulator.ts";

/** The functions of the driver by which the native library works on a GPU. */
const driverFunctions = [
  "cuDevicePrimaryCtxRetain",
  "cuCtxPushCurrent_v2",
  "cuCtxPopCurrent_v2",
] as string[] as SimulatedFunction[];

/** These are called only where there are no such functions of the driver. */
const withoutDriver = ["cudaGetDevice", "cudaSetDevice"];

/** Every CUDA function of the package whose result says whether it failed. */
export const functions = Object.entries(cudartSymbols)
  .filter(([, { returns }]) => returns === "i32")
  .map(([name]) => name as SimulatedFunction)
  // cudaGetLastError is left out: its result is the error that it clears.
  .filter((name) => name !== "cudaGetLastError" && !withoutDriver.includes(name))
  .concat(driverFunctions);

export interface Scenario {
  name: string;
  prepare?: () => void;
  run: () => void;
  /** Whether a failed call may go unnoticed because the scenario does without it. */
  mayTolerate?: (name: SimulatedFunction, error: number) => boolean;
}

export const pools = { memoryPoolByteSize: { 0: 1024, 1: 2048 } };

export function meansNoDevice(name: SimulatedFunction, error: number): boolean {
  return name === "cudaGetDeviceCount" && [34, 35, 100].includes(error);
}

/** Whether a call tells of one GPU, which is left out with an error in the log. */
const asksOneGpu = (name: SimulatedFunction) => name === "cudaDeviceGetAttribute";

/**
 * Whether a call takes part in giving back the memory that a pool had: then the pool has its new size
 * all the same, with a warning.
 */
const mayFailToGiveBack = (name: SimulatedFunction) =>
  ["cudaFree", ...driverFunctions, "cudaThreadExchangeStreamCaptureMode"].includes(name);

export function withMemories(use: (memories: AllocatedMemory[]) => void): void {
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

/** Allocates all of GPU 1's pool, writes to it, and frees it with the stream, or with several. */
function useAll(
  stream: CudaStream,
  options: AllocatedMemoryOptions | undefined,
  streams: readonly CudaStream[] = [stream],
): void {
  using source = new AllocatedMemory(512, "CPU_PINNED");
  const memory = new AllocatedMemory(2048, "GPU", 1, options);
  copyBuffer(memory, source, { stream });
  try {
    memory.free(streams);
  } catch (error) {
    for (const each of streams) each.synchronize();
    memory.free();
    throw error;
  }
  stream.isDone();
}

export function createBoth(): void {
  CudaMemoryManager.create(pools);
  PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 4096 });
}

export const scenarios: Scenario[] = [
  {
    name: "getSupportedGpus",
    run: () => void getSupportedGpus(),
    mayTolerate: (name, error) => meansNoDevice(name, error) || asksOneGpu(name),
  },
  {
    name: "getDeviceMemory",
    run: () => void getDeviceMemory(1),
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
    mayTolerate: (name, error) => meansNoDevice(name, error) || asksOneGpu(name),
  },
  {
    name: "CudaMemoryManager.reset",
    prepare: () => CudaMemoryManager.create(pools),
    run: () => CudaMemoryManager.reset(),
  },
  {
    name: "CudaMemoryManager.resize",
    prepare: () => CudaMemoryManager.create(pools),
    run: () => {
      for (const byteSize of [4096, 512, 0, 1024]) CudaMemoryManager.resize(1, byteSize);
    },
    mayTolerate: mayFailToGiveBack,
  },
  {
    name: "PinnedMemoryManager.create",
    run: () => PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 4096 }),
    // A warning, by contract.
    mayTolerate: (name) =>
      [
        "cudaHostAlloc",
        ...driverFunctions,
        "cudaThreadExchangeStreamCaptureMode",
        "cudaGetDeviceCount",
        "cudaDeviceGetAttribute",
      ].includes(name),
  },
  {
    name: "PinnedMemoryManager.reset",
    prepare: () => PinnedMemoryManager.create({ pinnedMemoryPoolByteSize: 4096 }),
    run: () => PinnedMemoryManager.reset(),
  },
  {
    name: "createMemoryManagers",
    run: () =>
      createMemoryManagers({ cudaMemoryPoolByteSize: { 0: 1024, 1: "10%" } })[Symbol.dispose](),
    mayTolerate: () => true, // logged, by contract: the server starts without pools
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
    name: "memory that somebody else owns, parts, and several buffers at once",
    prepare: createBoth,
    run: () =>
      withMemories(([first, second, host]) => {
        const { pointer, totalByteSize: byteSize } = second!;
        const source = { pointer, byteSize, memoryType: "GPU", memoryTypeId: 1 } as const;
        using borrowed = new MutableMemory(source);
        borrowed.subarray(100).fill(1);
        const reference = new MemoryReference();
        reference.append(host!.subarray(0, 5)).append(borrowed.subarray(0, 5));
        for (let i = 0; i < 3; i++) reference.append(new Uint8Array(5));
        copyBuffer(first!, reference);
      }),
    mayTolerate: meansNoDevice, // then nothing is known of an address
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
    name: "memory that a stream still uses",
    prepare: () => {
      createBoth();
      CudartSimulator.setDelay({ operationNs: 200_000 });
    },
    run: () =>
      withStream((stream) => {
        const ways = [undefined, { stream }];
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
    name: "the order of streams",
    prepare: createBoth,
    run: () =>
      withStream((stream) =>
        withStream((other) => {
          stream.waitFor(other);
          other.waitFor(stream);
        }),
      ),
  },
  {
    name: "memory that several streams still use",
    prepare: () => {
      createBoth();
      CudartSimulator.setDelay({ operationNs: 200_000 });
    },
    run: () =>
      withStream((stream) => withStream((other) => useAll(stream, undefined, [stream, other]))),
  },
  {
    name: "a borrowed stream",
    prepare: createBoth,
    run: () =>
      withStream((owner) => {
        const stream = CudaStream.from(owner.handle, 1);
        try {
          for (let i = 0; i < 2; i++) useAll(stream, { stream });
          stream.synchronize();
        } finally {
          stream[Symbol.dispose]();
        }
      }),
    mayTolerate: () => true, // logged: a copy is queued although the stream cannot be marked after it
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

export function reset(): void {
  CudartSimulator.clearFaults();
  CudartSimulator.setDelay({});
  CudaMemoryManager.reset();
  PinnedMemoryManager.reset();
}
