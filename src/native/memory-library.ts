import { dlopen } from "bun:ffi";
import { log } from "../logger.ts";
import { MemoryError } from "../memory-error.ts";
import { processVariable, shareVariables } from "./environment.ts";
import { findLibrary } from "./library-search.ts";
import { memorySymbols } from "./memory-symbols.ts";
import { packageVersion } from "./version.ts";

/** The package's own files, by literal URLs, which tools that trace a program's files follow. */
const prebuilt = {
  "linux-x64": new URL("../../prebuilt/linux-x64/libbun_cuda_memory.so", import.meta.url),
  "linux-arm64": new URL("../../prebuilt/linux-arm64/libbun_cuda_memory.so", import.meta.url),
};

/**
 * The files that a bundler took along. It takes what is required by a literal path, and passes over
 * what is not there if a `try` is around it. Their paths are relative to this module's new place.
 */
function bundled(): URL[] {
  const urls: URL[] = [];
  const add = (path: string) => void urls.push(new URL(path, import.meta.url));
  try {
    add(require("../../build/libbun_cuda_memory.so"));
  } catch {}
  try {
    if (process.arch === "x64") add(require("../../prebuilt/linux-x64/libbun_cuda_memory.so"));
  } catch {}
  try {
    if (process.arch === "arm64") add(require("../../prebuilt/linux-arm64/libbun_cuda_memory.so"));
  } catch {}
  return urls;
}

const overrideVariable = "BUN_CUDA_MEMORY_LIBRARY";

function cannotLoad(path: string, { message }: Error): MemoryError {
  const subject = processVariable(overrideVariable)
    ? `${overrideVariable} names ${path}, which`
    : `the native library ${path}`;
  // A compiled executable has its files inside itself, where the dynamic loader does not see them.
  const advice = path.startsWith("/$bunfs/") ? "; Bun unpacks it into $TMPDIR, or /tmp" : "";
  return new MemoryError("UNAVAILABLE", `${subject} cannot be loaded: ${message}${advice}`);
}

function openFile(path: string) {
  try {
    return dlopen(path, memorySymbols).symbols;
  } catch (error) {
    throw cannotLoad(path, error as Error);
  }
}

/**
 * Opens the library that this process uses. A package may be there several times: beside another
 * package that depends on it, as sources and as built files, in a bundle of each Worker. Each has a
 * file of its own, but those of one version share the file that the process has loaded first.
 */
function open() {
  shareVariables();
  const own = openFile(
    findLibrary({
      fileName: "libbun_cuda_memory.so",
      sourceFolder: "c",
      overrideVariable,
      prebuilt,
      bundled,
    }),
  );
  const other = String(own.library_of_other_version());
  if (other !== "") {
    log.warn(
      "library",
      `bun-cuda-memory ${packageVersion} is used beside version ${other} in one process: each has ` +
        "pools of its own, and neither knows the other's memory and streams",
    );
  }
  const path = String(own.library_of_process());
  return path === "" ? own : openFile(path);
}

/** The native library's functions. It is opened when the package is imported, and never closed. */
export const memoryLibrary = open();
