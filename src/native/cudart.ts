import type { Pointer } from "bun:ffi";
import { quoted } from "../describe.ts";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { cString } from "./c-string.ts";
import {
  type Cudart,
  type NoRuntime,
  openBestOf,
  type OpenedRuntime,
  openOverride,
  overrideVariable,
  tryToOpen,
} from "./cudart-open.ts";
import { cudartCandidates, type SearchOrigin } from "./cudart-search.ts";
import { homeFolder, ownVariable, processVariable } from "./environment.ts";
import { memoryLibrary } from "./memory-library.ts";
import { handOverVariables } from "./simulator-environment.ts";

export type { Cudart } from "./cudart-open.ts";

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
  const runtime = agree(
    override ? openOverride(override) : openBestOf(cudartCandidates(searchOrigin())),
  );
  if ("reason" in runtime) {
    log.info("library", `there are no GPUs: ${runtime.reason}`);
    return runtime;
  }
  const late = handOverVariables(runtime.path);
  if (late !== null) log.error("library", late);
  bind(runtime.cudart);
  log.info("library", `CUDA runtime: ${runtime.path}`);
  return runtime;
}

/** Says that this Worker's own environment names another library than the process's. */
function reportOtherEnvironment(override: string | undefined): void {
  const own = ownVariable(overrideVariable);
  if (own === undefined) return; // nothing was asked for here
  log.error(
    "library",
    `this Worker's ${overrideVariable} is ${quoted(own)}, which is not looked at: the process has one ` +
      `CUDA runtime, and in its environment the variable ` +
      (override === undefined ? "is not set" : `is ${quoted(override)}`),
  );
}

function searchOrigin(): SearchOrigin {
  return {
    variable: processVariable,
    currentFolder: currentFolder(),
    homeFolder: homeFolder(),
    loaderPath,
  };
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
  log.error("library", reason);
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
