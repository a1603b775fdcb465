import { dlopen } from "bun:ffi";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { MemoryError, type MemoryErrorCode } from "../memory-error.ts";
import { memoryLocation, memoryStatus, memorySymbols } from "./memory-symbols.ts";

function open() {
  const path = fileURLToPath(new URL("../../build/libbun_cuda_memory.so", import.meta.url));
  if (!existsSync(path)) {
    throw new MemoryError(
      "UNAVAILABLE",
      `the native library is not at ${path}; run \`make\` in the package's folder to build it`,
    );
  }
  return dlopen(path, memorySymbols).symbols;
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

/** Room for a `struct memory_location`. */
export function newLocation(): Float64Array {
  return newStruct(memoryLocation);
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

/** @throws {MemoryError} where the status is a failure; above it are only warnings. */
export function checkStatus(status: number): void {
  if (status < memoryStatus.MEMORY_OK) throw nativeError(status);
}
