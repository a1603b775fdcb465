import { dlopen, type Pointer } from "bun:ffi";
import { resolve } from "node:path";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { cString } from "./c-string.ts";
import { cudartCandidates } from "./cudart-search.ts";
import { cudaError, cudartSymbols } from "./cudart-symbols.ts";
import { memoryLibrary } from "./memory-library.ts";

/** The functions of the CUDA runtime. */
export type Cudart = ReturnType<typeof dlopen<typeof cudartSymbols>>["symbols"];

interface OpenedRuntime {
  readonly path: string;
  readonly cudart: Cudart;
}

/** The runtime as this thread has opened it; `undefined` until then. */
let opened: OpenedRuntime | null | undefined;

/** The CUDA runtime of this process, opened by the first call; `null` where there is none. */
export function cudart(): Cudart | null {
  return openedRuntime()?.cudart ?? null;
}

/** The path of the CUDA runtime of this process; `null` where there is none. Opens it too. */
export function cudartPath(): string | null {
  return openedRuntime()?.path ?? null;
}

function openedRuntime(): OpenedRuntime | null {
  if (opened === undefined) opened = open();
  return opened;
}

function open(): OpenedRuntime | null {
  const override = process.env["BUN_CUDA_MEMORY_CUDART"];
  const runtime = agree(override ? openOverride(override) : openBestCandidate());
  if (runtime === null) {
    log.info("no CUDA runtime: there are no GPUs");
    return null;
  }
  bind(runtime.cudart);
  log.info(`CUDA runtime: ${runtime.path}`);
  return runtime;
}

/** Opens exactly the library that the user named. */
function openOverride(path: string): OpenedRuntime | null {
  // The loader would look for a bare name elsewhere too.
  const named = tryToOpen(resolve(path));
  if (!(named instanceof Error)) return named;
  log.error(
    `BUN_CUDA_MEMORY_CUDART names ${path}, which cannot be loaded as a CUDA runtime, ` +
      `so there are no GPUs: ${named.message}`,
  );
  return null;
}

/**
 * Opens the first runtime on this machine that the driver is new enough for; where none is, the
 * first that loads, which can then say what is wrong.
 */
function openBestCandidate(): OpenedRuntime | null {
  let first: OpenedRuntime | null = null;
  for (const path of cudartCandidates(process.env, loaderPath)) {
    const candidate = tryToOpen(path);
    if (candidate instanceof Error) {
      log.info(`passed over ${path}: ${candidate.message}`);
      continue;
    }
    const driverVersion = readVersion(candidate.cudart.cudaDriverGetVersion);
    const runtimeVersion = readVersion(candidate.cudart.cudaRuntimeGetVersion);
    // Within a major version of CUDA any driver serves any runtime.
    if (Math.floor(driverVersion / 1000) >= Math.floor(runtimeVersion / 1000)) return candidate;
    first ??= candidate;
    if (driverVersion === 0) break; // without a driver another runtime changes nothing
  }
  return first;
}

function loaderPath(soname: string): string | null {
  const path = memoryLibrary.library_path(cString(soname));
  return path ? String(path) : null;
}

function tryToOpen(path: string): OpenedRuntime | Error {
  try {
    return { path, cudart: dlopen(path, cudartSymbols).symbols };
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** The version that a CUDA function puts where its only argument points; 0 where the call fails. */
function readVersion(getVersion: (version: Int32Array) => number): number {
  const version = new Int32Array(1);
  return getVersion(version) === cudaError.cudaSuccess ? version[0]! : 0;
}

/**
 * Has all threads of the process use the runtime that the first of them claimed, or none where that
 * one had none. The runtime that this thread has opened may be another.
 *
 * @throws {MemoryError} `INTERNAL` where the claimed runtime cannot be opened in this thread.
 */
function agree(own: OpenedRuntime | null): OpenedRuntime | null {
  const path = own?.path ?? ""; // "" is no runtime
  const claimedPath = String(memoryLibrary.cudart_claim(cString(path)) ?? "");
  if (claimedPath === path) return own;
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
