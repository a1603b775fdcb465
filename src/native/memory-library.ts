import { dlopen } from "bun:ffi";
import { MemoryError, type MemoryErrorCode } from "../memory-error.ts";
import { findLibrary } from "./library-search.ts";
import { memoryAllocation, memoryStatus, memorySymbols } from "./memory-symbols.ts";

/**
 * A bundler takes along what is required by a literal path, and passes over what is not there if a
 * `try` is around it. What it took is at a path relative to this module's new place.
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
  const subject = process.env[overrideVariable]
    ? `${overrideVariable} names ${path}, which`
    : `the native library ${path}`;
  // An executable has its files in itself, where the loader of libraries does not see them.
  const advice = path.startsWith("/$bunfs/") ? "; Bun unpacks it into $TMPDIR, or /tmp" : "";
  return new MemoryError("UNAVAILABLE", `${subject} cannot be loaded: ${message}${advice}`);
}

function open() {
  const path = findLibrary({
    fileName: "libbun_cuda_memory.so",
    sourceFolder: "c",
    overrideVariable,
    bundled,
  });
  try {
    return dlopen(path, memorySymbols).symbols;
  } catch (error) {
    throw cannotLoad(path, error as Error);
  }
}

/** The native library's functions. Opened when the package is imported, never closed. */
export const memoryLibrary = open();

/**
 * Room for a struct of doubles, given by the places of its members. Backed by a buffer of its own:
 * the storage of a small typed array moves when the JIT compiles what uses it.
 */
export function newStruct(members: Record<string, number>): Float64Array {
  return new Float64Array(
    new ArrayBuffer(Object.keys(members).length * Float64Array.BYTES_PER_ELEMENT),
  );
}

/** Room for a `struct memory_allocation`. */
export function newAllocation(): Float64Array {
  return newStruct(memoryAllocation);
}

/** Gives back what a `struct memory_allocation` says. Returns a `memory_status`. */
export function freeAllocation(allocation: Float64Array): number {
  return memoryLibrary.allocated_memory_free(
    allocation[memoryAllocation.address]!,
    allocation[memoryAllocation.memory_type]!,
    allocation[memoryAllocation.device_id]!,
    allocation[memoryAllocation.generation]!,
  );
}

const codes = Object.fromEntries(
  Object.entries(memoryStatus).map(([name, status]) => [status, name.replace("MEMORY_", "")]),
);

/** What the calling thread's last call had to say, a line for each thing that went wrong. */
export function nativeMessages(): string[] {
  return String(memoryLibrary.memory_message()).split("\n");
}

/** The same as one sentence. */
export function nativeMessage(): string {
  return nativeMessages().join("; ");
}

/** The error for a call that returned `status`, with the message that it left. */
export function nativeError(status: number): MemoryError {
  return new MemoryError((codes[status] ?? "UNKNOWN") as MemoryErrorCode, nativeMessage());
}

/** @throws {MemoryError} where the status is a failure. */
export function checkStatus(status: number): void {
  if (status < memoryStatus.MEMORY_OK) throw nativeError(status);
}
