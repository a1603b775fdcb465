import { dlopen } from "bun:ffi";
import { MemoryError } from "../memory-error.ts";
import { processVariable, shareVariables } from "./environment.ts";
import { findLibrary } from "./library-search.ts";
import { memorySymbols } from "./memory-symbols.ts";

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

function open() {
  shareVariables();
  const path = findLibrary({
    fileName: "libbun_cuda_memory.so",
    sourceFolder: "c",
    overrideVariable,
    prebuilt,
    bundled,
  });
  try {
    return dlopen(path, memorySymbols).symbols;
  } catch (error) {
    throw cannotLoad(path, error as Error);
  }
}

/** The native library's functions. It is opened when the package is imported, and never closed. */
export const memoryLibrary = open();
