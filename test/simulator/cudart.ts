import { dlopen, type Pointer, read, toArrayBuffer } from "bun:ffi";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cudartSymbols, extraCudartSymbols } from "../../src/native/cudart-symbols.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import type { SimulatedFunction } from "../../src/simulator.ts";

const table = { ...cudartSymbols, ...extraCudartSymbols };
const symbols = dlopen(simulatorLibraryPath, table).symbols;

/** What a call with one out-parameter returned, and what it stored: -1 if it stored nothing. */
export interface Outcome {
  readonly error: number;
  readonly value: number;
}

function i32Outcome(call: (out: Int32Array) => number): Outcome {
  const out = new Int32Array(new ArrayBuffer(4)).fill(-1);
  const error = call(out);
  return { error, value: Number(out[0]) };
}

function addressOutcome(call: (out: BigInt64Array) => number): Outcome {
  const out = new BigInt64Array(new ArrayBuffer(8)).fill(-1n);
  const error = call(out);
  return { error, value: Number(out[0]) };
}

/** The driver's functions that the simulator has. */
const driver = dlopen(simulatorLibraryPath, {
  cuInit: { args: ["u32"], returns: "i32" },
  cuDeviceGet: { args: ["ptr", "i32"], returns: "i32" },
  cuDevicePrimaryCtxRetain: { args: ["ptr", "i32"], returns: "i32" },
  cuDevicePrimaryCtxRelease_v2: { args: ["i32"], returns: "i32" },
  cuDevicePrimaryCtxGetState: { args: ["i32", "ptr", "ptr"], returns: "i32" },
  cuCtxPushCurrent_v2: { args: ["ptr"], returns: "i32" },
  cuCtxPopCurrent_v2: { args: ["ptr"], returns: "i32" },
  cuCtxGetCurrent: { args: ["ptr"], returns: "i32" },
}).symbols;

type Memory = number | Uint8Array | null;
const memory = (place: Memory): Pointer | Uint8Array | null => place as Pointer | Uint8Array | null;

function pointerTo(functions: object, name: string): Pointer {
  return (functions as Record<string, { ptr: Pointer }>)[name]!.ptr;
}

type Handle = number | null;
const handle = (address: Handle): Pointer | null => address as Pointer | null;

/** The simulator's CUDA runtime as plain calls: addresses are numbers, results are error numbers. */
export const cuda = {
  runtimeVersion: () => i32Outcome(symbols.cudaRuntimeGetVersion),
  driverVersion: () => i32Outcome(symbols.cudaDriverGetVersion),
  errorName: (error: number) => String(symbols.cudaGetErrorName(error)),
  errorText: (error: number) => String(symbols.cudaGetErrorString(error)),
  lastError: () => symbols.cudaGetLastError(),
  peekError: () => symbols.cudaPeekAtLastError(),

  deviceCount: () => i32Outcome(symbols.cudaGetDeviceCount),
  attribute: (attribute: number, device: number) =>
    i32Outcome((out) => symbols.cudaDeviceGetAttribute(out, attribute, device)),
  currentDevice: () => i32Outcome(symbols.cudaGetDevice),
  setDevice: (device: number) => symbols.cudaSetDevice(device),
  synchronizeDevice: () => symbols.cudaDeviceSynchronize(),

  canAccessPeer: (device: number, peer: number) =>
    i32Outcome((out) => symbols.cudaDeviceCanAccessPeer(out, device, peer)),
  enablePeerAccess: (peer: number, flags = 0) => symbols.cudaDeviceEnablePeerAccess(peer, flags),
  disablePeerAccess: (peer: number) => symbols.cudaDeviceDisablePeerAccess(peer),

  createStream: (flags = 0) =>
    addressOutcome((out) => symbols.cudaStreamCreateWithFlags(out, flags)),
  createPlainStream: () => addressOutcome(symbols.cudaStreamCreate),
  destroyStream: (stream: Handle) => symbols.cudaStreamDestroy(handle(stream)),
  queryStream: (stream: Handle) => symbols.cudaStreamQuery(handle(stream)),
  synchronizeStream: (stream: Handle) => symbols.cudaStreamSynchronize(handle(stream)),
  waitEvent: (stream: Handle, event: Handle, flags = 0) =>
    symbols.cudaStreamWaitEvent(handle(stream), handle(event), flags),
  launchHostFunction: (stream: Handle, address: Pointer | null, argument: Memory) =>
    symbols.cudaLaunchHostFunc(handle(stream), address, memory(argument)),

  beginCapture: (stream: Handle, mode = 0) => symbols.cudaStreamBeginCapture(handle(stream), mode),
  endCapture: (stream: Handle) =>
    addressOutcome((out) => symbols.cudaStreamEndCapture(handle(stream), out)),
  captureStatus: (stream: Handle) =>
    i32Outcome((out) => symbols.cudaStreamIsCapturing(handle(stream), out)),
  exchangeCaptureMode: (mode: number) =>
    i32Outcome((out) => {
      out[0] = mode;
      return symbols.cudaThreadExchangeStreamCaptureMode(out);
    }),
  destroyGraph: (graph: Handle) => symbols.cudaGraphDestroy(handle(graph)),

  createEvent: (flags = 0) => addressOutcome((out) => symbols.cudaEventCreateWithFlags(out, flags)),
  createPlainEvent: () => addressOutcome(symbols.cudaEventCreate),
  destroyEvent: (event: Handle) => symbols.cudaEventDestroy(handle(event)),
  recordEvent: (event: Handle, stream: Handle) =>
    symbols.cudaEventRecord(handle(event), handle(stream)),
  queryEvent: (event: Handle) => symbols.cudaEventQuery(handle(event)),
  synchronizeEvent: (event: Handle) => symbols.cudaEventSynchronize(handle(event)),
  elapsedMs(start: Handle, end: Handle) {
    const out = new Float32Array(new ArrayBuffer(4)).fill(-1);
    const error = symbols.cudaEventElapsedTime(out, handle(start), handle(end));
    return { error, ms: Number(out[0]) };
  },

  malloc: (size: number | bigint) => addressOutcome((out) => symbols.cudaMalloc(out, size)),
  free: (address: number | null) => symbols.cudaFree(address as Pointer | null),
  hostAlloc: (size: number | bigint, flags = 0) =>
    addressOutcome((out) => symbols.cudaHostAlloc(out, size, flags)),
  freeHost: (address: number | null) => symbols.cudaFreeHost(address as Pointer | null),
  memoryInfo() {
    const free = new BigUint64Array(new ArrayBuffer(8));
    const total = new BigUint64Array(new ArrayBuffer(8));
    const error = symbols.cudaMemGetInfo(free, total);
    return { error, free: Number(free[0]), total: Number(total[0]) };
  },

  initDriver: (flags = 0) => driver.cuInit(flags),
  driverDevice: (ordinal: number) => i32Outcome((out) => driver.cuDeviceGet(out, ordinal)),
  retainContext: (device: number) =>
    addressOutcome((out) => driver.cuDevicePrimaryCtxRetain(out, device)),
  releaseContext: (device: number) => driver.cuDevicePrimaryCtxRelease_v2(device),
  contextState: (device: number) =>
    i32Outcome((out) => driver.cuDevicePrimaryCtxGetState(device, new Uint32Array(1), out)),
  pushContext: (context: Handle) => driver.cuCtxPushCurrent_v2(handle(context)),
  popContext: () => addressOutcome(driver.cuCtxPopCurrent_v2),
  currentContext: () => addressOutcome(driver.cuCtxGetCurrent),

  memcpy: (to: Memory, from: Memory, size: number | bigint, kind: number) =>
    symbols.cudaMemcpy(memory(to), memory(from), size, kind),
  memset: (to: Memory, value: number, size: number) => symbols.cudaMemset(memory(to), value, size),
  memcpyAsync: (to: Memory, from: Memory, size: number, kind: number, stream: Handle) =>
    symbols.cudaMemcpyAsync(memory(to), memory(from), size, kind, handle(stream)),
  memcpyPeerAsync: (
    to: Memory,
    toDevice: number,
    from: Memory,
    fromDevice: number,
    size: number,
    stream: Handle,
  ) =>
    symbols.cudaMemcpyPeerAsync(
      memory(to),
      toDevice,
      memory(from),
      fromDevice,
      size,
      handle(stream),
    ),
  memsetAsync: (to: Memory, value: number, size: number, stream: Handle) =>
    symbols.cudaMemsetAsync(memory(to), value, size, handle(stream)),
  /** Copies a device block's bytes out. */
  bytesOf(address: number, size: number): number[] {
    const bytes = new Uint8Array(new ArrayBuffer(size));
    const error = symbols.cudaMemcpy(bytes, address as Pointer, size, 4);
    if (error !== 0) {
      throw new Error(`cudaMemcpy: ${error}`);
    }
    return [...bytes];
  },
  pointerAttributes(pointer: Memory) {
    const bytes = new Uint8Array(new ArrayBuffer(128));
    const error = symbols.cudaPointerGetAttributes(bytes, memory(pointer));
    const out = new DataView(bytes.buffer);
    return {
      error,
      type: out.getInt32(0, true),
      device: out.getInt32(4, true),
      devicePointer: Number(out.getBigUint64(8, true)),
      hostPointer: Number(out.getBigUint64(16, true)),
    };
  },

  /** The names of all functions whose calls the simulator counts. */
  countedFunctions: Object.entries(table)
    .filter(([, { returns }]) => returns === "i32")
    .map(([name]) => name as SimulatedFunction),
  /** Calls a function with zeros and null pointers. */
  callWithZeros(name: SimulatedFunction): number {
    const zeros = table[name].args.map((type) => (type === "ptr" ? null : 0));
    return (symbols[name] as (...values: unknown[]) => number)(...zeros);
  },

  /** Reads a byte as the host does, with no CUDA. */
  dereference: (address: number) => read.u8(address as Pointer),
  /** Writes bytes as the host does. */
  poke: (address: number, value: number, size: number) =>
    new Uint8Array(toArrayBuffer(address as Pointer, 0, size)).fill(value),

  /** A function of the C library, as a pointer that a host function can be. */
  cFunction: (name: string) =>
    pointerTo(dlopen("libc.so.6", { [name]: { args: [], returns: "void" } }).symbols, name),
  /** One of CUDA's, which a host function may not call. */
  cudaFunction: (name: SimulatedFunction) => pointerTo(symbols, name),

  /** How many threads of this process perform what is queued on streams. */
  workerCount: () =>
    readdirSync("/proc/self/task").filter((thread) => {
      try {
        return readFileSync(`/proc/self/task/${thread}/comm`, "utf8") === "cudart_sim\n";
      } catch {
        return false;
      }
    }).length,

  /** What a call returned, and how many milliseconds it took. */
  timed<Result>(call: () => Result) {
    const start = performance.now();
    const result = call();
    return { result, ms: performance.now() - start };
  },

  /** A Worker's module: what a new thread sees of its state. */
  otherThreadPath: join(import.meta.dir, "other-thread.ts"),
  /** One that meets a capture of another thread. */
  captureThreadPath: join(import.meta.dir, "capture-thread.ts"),
  /** One that has work in flight on its own default stream. */
  ownStreamPath: join(import.meta.dir, "own-stream.ts"),
};

export type Cuda = typeof cuda;

export { CudartSimulator } from "../../src/simulator.ts";
