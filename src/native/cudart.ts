import { dlopen, type Pointer } from "bun:ffi";
import { resolve } from "node:path";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { cudartCandidates } from "./cudart-search.ts";
import { cudartSymbols, cudaError } from "./cudart-symbols.ts";
import { memoryLibrary } from "./memory-library.ts";

type CudartLibrary = ReturnType<typeof dlopen<typeof cudartSymbols>>;

/** The functions of the CUDA runtime. */
export type Cudart = CudartLibrary["symbols"];

/** A C string, to be passed as a pointer. */
function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

/** The first number that a CUDA function puts where its only argument points. */
function readVersion(getVersion: (version: Int32Array) => number): number {
  const version = new Int32Array(1);
  return getVersion(version) === cudaError.cudaSuccess ? version[0]! : 0;
}

interface OpenedRuntime {
  path: string;
  cudart: Cudart;
}

function tryToOpen(path: string): OpenedRuntime | Error {
  try {
    return { path, cudart: dlopen(path, cudartSymbols).symbols };
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** Exactly the library that the user named. */
function openOverride(path: string): OpenedRuntime | null {
  // A bare name would be looked for elsewhere too.
  const opened = tryToOpen(resolve(path));
  if (!(opened instanceof Error)) return opened;
  log.error(
    `BUN_CUDA_MEMORY_CUDART names ${path}, which cannot be loaded as a CUDA runtime, ` +
      `so there are no GPUs: ${opened.message}`,
  );
  return null;
}

/**
 * Of the runtimes on this machine the first that the driver is new enough for; where none is, the
 * first that loads, which can then say what is wrong.
 */
function openBestCandidate(): OpenedRuntime | null {
  let first: OpenedRuntime | null = null;
  const loaderPath = (soname: string) => {
    const path = memoryLibrary.library_path(cString(soname));
    return path ? String(path) : null;
  };
  for (const path of cudartCandidates(process.env, loaderPath)) {
    const opened = tryToOpen(path);
    if (opened instanceof Error) {
      log.info(`passed over ${path}: ${opened.message}`);
      continue;
    }
    const driverVersion = readVersion(opened.cudart.cudaDriverGetVersion);
    const runtimeVersion = readVersion(opened.cudart.cudaRuntimeGetVersion);
    // Within a major version of CUDA any driver serves any runtime.
    if (Math.floor(driverVersion / 1000) >= Math.floor(runtimeVersion / 1000)) return opened;
    first ??= opened;
    if (driverVersion === 0) break; // no driver at all: another runtime changes nothing
  }
  return first;
}

/** All threads of the process use the runtime that the first of them opened. */
function agree(opened: OpenedRuntime | null): OpenedRuntime | null {
  const claimedPath = String(memoryLibrary.cudart_claim(cString(opened?.path ?? "")) ?? "");
  if (claimedPath === (opened?.path ?? "")) return opened;
  if (claimedPath === "") return null;
  const claimed = tryToOpen(claimedPath);
  if (claimed instanceof Error) {
    throw new MemoryError(
      "INTERNAL",
      `the CUDA runtime of this process, ${claimedPath}, cannot be opened: ${claimed.message}`,
    );
  }
  return claimed;
}

/** Hands the native library the addresses of the functions that it calls by itself. */
function bind(cudart: Cudart): void {
  for (const [name, symbol] of Object.entries(cudart as Record<string, { ptr?: Pointer }>)) {
    memoryLibrary.cudart_bind(cString(name), symbol.ptr!);
  }
}

function open(): Cudart | null {
  const override = process.env["BUN_CUDA_MEMORY_CUDART"];
  const runtime = agree(override ? openOverride(override) : openBestCandidate());
  if (runtime === null) {
    log.info("no CUDA runtime: there are no GPUs");
    return null;
  }
  bind(runtime.cudart);
  log.info(`CUDA runtime: ${runtime.path}`);
  return runtime.cudart;
}

let opened: Cudart | null | undefined;

/** The CUDA runtime of this process, opened by the first call; `null` where there is none. */
export function cudart(): Cudart | null {
  if (opened === undefined) opened = open();
  return opened;
}
