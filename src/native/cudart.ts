import { dlopen, type Pointer } from "bun:ffi";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { resolve } from "node:path";
import { excerpt, quoted } from "../describe.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { cString } from "./c-string.ts";
import { cudartCandidates, cudartSonames, searchedPlaces } from "./cudart-search.ts";
import { cudaError, cudartSymbols } from "./cudart-symbols.ts";
import { ownVariable, processVariable } from "./environment.ts";
import { memoryLibrary } from "./memory-library.ts";

/** The functions of the CUDA runtime. */
export type Cudart = ReturnType<typeof dlopen<typeof cudartSymbols>>["symbols"];

const overrideVariable = "BUN_CUDA_MEMORY_CUDART";

interface OpenedRuntime {
  readonly path: string;
  readonly cudart: Cudart;
}

/** Why there is no CUDA runtime. */
interface NoRuntime {
  readonly reason: string;
}

/** The runtime as this thread has opened it; `undefined` until then. */
let opened: OpenedRuntime | NoRuntime | undefined;

/** The CUDA runtime of this process, opened by the first call; `null` where there is none. */
export function cudart(): Cudart | null {
  const runtime = openedRuntime();
  return "cudart" in runtime ? runtime.cudart : null;
}

/** The path of the CUDA runtime of this process; `null` where there is none. Opens it too. */
export function cudartPath(): string | null {
  const runtime = openedRuntime();
  return "path" in runtime ? runtime.path : null;
}

/** Why this process has no CUDA runtime, as a sentence; `null` where it has one. Opens it too. */
export function noCudartReason(): string | null {
  const runtime = openedRuntime();
  return "reason" in runtime ? runtime.reason : null;
}

function openedRuntime(): OpenedRuntime | NoRuntime {
  opened ??= open();
  return opened;
}

function open(): OpenedRuntime | NoRuntime {
  const override = processVariable(overrideVariable);
  if (ownVariable(overrideVariable) !== override) reportOtherEnvironment(override);
  const runtime = agree(override ? openOverride(override) : openBestCandidate());
  if ("reason" in runtime) {
    log.info(`there are no GPUs: ${runtime.reason}`);
    return runtime;
  }
  bind(runtime.cudart);
  log.info(`CUDA runtime: ${runtime.path}`);
  return runtime;
}

/** Says that this Worker's own environment names another library than the process's. */
function reportOtherEnvironment(override: string | undefined): void {
  const own = ownVariable(overrideVariable);
  if (own === undefined) return; // nothing was asked for here
  log.error(
    `this Worker's ${overrideVariable} is ${quoted(own)}, which is not looked at: the process has one ` +
      `CUDA runtime, and in its environment the variable ` +
      (override === undefined ? "is not set" : `is ${quoted(override)}`),
  );
}

/** Opens exactly the library that the user named. */
function openOverride(path: string): OpenedRuntime | NoRuntime {
  // The loader would look for a bare name elsewhere too.
  const named = tryToOpen(resolve(path));
  if (!(named instanceof Error)) return named;
  const reason =
    `${overrideVariable} names ${excerpt(path, 1000)}, which cannot be loaded as a CUDA runtime: ` +
    excerpt(named.message, 1000);
  log.error(`${reason}; there are no GPUs`);
  return { reason };
}

/**
 * Opens the first runtime on this machine that the driver is new enough for; where none is, the
 * first that loads, which can then say what is wrong.
 */
function openBestCandidate(): OpenedRuntime | NoRuntime {
  let first: OpenedRuntime | null = null;
  const refusals: string[] = [];
  const origin = {
    variable: processVariable,
    currentFolder: currentFolder(),
    homeFolder: homedir(),
    loaderPath,
  };
  for (const path of cudartCandidates(origin)) {
    const candidate = tryToOpen(path);
    if (candidate instanceof Error) {
      refusals.push(`${path} cannot be loaded: ${excerpt(candidate.message, 300)}`);
      log.info(`passed over a CUDA runtime: ${refusals.at(-1)}`);
      continue;
    }
    const driverVersion = readVersion(candidate.cudart.cudaDriverGetVersion);
    const runtimeVersion = readVersion(candidate.cudart.cudaRuntimeGetVersion) ?? 0;
    // Within a major version of CUDA any driver serves any runtime.
    if (Math.floor((driverVersion ?? 0) / 1000) >= Math.floor(runtimeVersion / 1000))
      return candidate;
    first ??= candidate;
    if (driverVersion === 0) break; // without a driver another runtime changes nothing
  }
  return first ?? noCandidate(refusals);
}

/** Says where a runtime was looked for, and what was found that is none. */
function noCandidate(refusals: readonly string[]): NoRuntime {
  const found = refusals.length === 0 ? "" : ` that can be loaded (${refusals.join("; ")})`;
  const reason =
    `no CUDA runtime${found}: ${cudartSonames.join(", ")} were looked for in ${searchedPlaces}; ` +
    `${overrideVariable} can name the library`;
  // A machine that has none may well be meant to have none. One that has a GPU, or a runtime that
  // is broken, is not.
  if (refusals.length > 0 || existsSync("/proc/driver/nvidia")) log.warn(reason);
  return { reason };
}

function currentFolder(): string {
  try {
    return process.cwd();
  } catch {
    return "/"; // it was deleted
  }
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

/** The version that a CUDA function puts where its only argument points; `null` where it fails. */
function readVersion(getVersion: (version: Int32Array) => number): number | null {
  const version = new Int32Array(1);
  return getVersion(version) === cudaError.cudaSuccess ? version[0]! : null;
}

/**
 * Has all threads of the process use the runtime that the first of them claimed, or none where that
 * one had none. The runtime that this thread has opened may be another, which is said.
 *
 * @throws {MemoryError} `INTERNAL` where the claimed runtime cannot be opened in this thread.
 */
function agree(own: OpenedRuntime | NoRuntime): OpenedRuntime | NoRuntime {
  const path = "path" in own ? own.path : ""; // "" is no runtime
  const claimedPath = String(memoryLibrary.cudart_claim(cString(path)) ?? "");
  if (claimedPath === path) return own;
  const reason =
    `the process has ${claimedPath === "" ? "no CUDA runtime" : `the CUDA runtime ${claimedPath}`}, ` +
    `as the thread that asked first found it, while this thread finds ` +
    `${path === "" ? "none" : path}: set ${overrideVariable} where the process is started`;
  log.error(reason);
  if (claimedPath === "") return { reason };
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
