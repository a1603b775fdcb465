import { dlopen } from "bun:ffi";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { excerpt } from "../describe.ts";
import { log } from "../logger.ts";
import { cudartSonames, searchedPlaces } from "./cudart-search.ts";
import { cudaError, cudartSymbols } from "./cudart-symbols.ts";

/** The functions of the CUDA runtime. */
export type Cudart = ReturnType<typeof dlopen<typeof cudartSymbols>>["symbols"];

/** Names the file to be used in the place of a search. */
export const overrideVariable = "BUN_CUDA_MEMORY_CUDART";

export interface OpenedRuntime {
  readonly path: string;
  readonly cudart: Cudart;
}

/** Why there is no CUDA runtime. */
export interface NoRuntime {
  readonly reason: string;
}

/** Opens exactly the library that the user named. */
export function openOverride(path: string): OpenedRuntime | NoRuntime {
  // The loader would look for a bare name elsewhere too.
  const named = tryToOpen(resolve(path));
  if (!(named instanceof Error)) return named;
  const reason =
    `${overrideVariable} names ${excerpt(path, 1000)}, which cannot be loaded as a CUDA runtime: ` +
    excerpt(named.message, 1000);
  log.error("library", `${reason}; there are no GPUs`);
  return { reason };
}

/**
 * Opens the first runtime, among those that were found on this machine, that the driver is new enough for; where none is, the
 * first that loads, which can then say what is wrong.
 */
export function openBestOf(paths: Iterable<string>): OpenedRuntime | NoRuntime {
  let first: OpenedRuntime | null = null;
  const refusals: string[] = [];
  for (const path of paths) {
    const candidate = tryToOpen(path);
    if (candidate instanceof Error) {
      refusals.push(`${path} cannot be loaded: ${excerpt(candidate.message, 300)}`);
      log.info("library", `passed over a CUDA runtime: ${refusals.at(-1)}`);
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
  if (refusals.length > 0 || existsSync("/proc/driver/nvidia")) log.warn("library", reason);
  return { reason };
}

/** Opens a runtime, or returns the error with which the loader refuses it. */
export function tryToOpen(path: string): OpenedRuntime | Error {
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
