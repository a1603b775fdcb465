import { MemoryError, type MemoryErrorCode } from "../memory-error.ts";
import { memoryLibrary } from "./memory-library.ts";
import { memoryStatus } from "./memory-symbols.ts";

const codes = Object.fromEntries(
  Object.entries(memoryStatus).map(([name, status]) => [status, name.replace("MEMORY_", "")]),
);

/** What the calling thread's last call had to say: a line for each thing that went wrong. */
export function nativeMessages(): string[] {
  return String(memoryLibrary.memory_message()).split("\n");
}

/** The lines of {@link nativeMessages}, joined to one sentence. */
export function nativeMessage(): string {
  return nativeMessages().join("; ");
}

/** The error for a call that returned `status`, with the message that the call left. */
export function nativeError(status: number): MemoryError {
  return new MemoryError((codes[status] ?? "UNKNOWN") as MemoryErrorCode, nativeMessage());
}

/** @throws {MemoryError} where the `memory_status` is a failure. */
export function checkStatus(status: number): void {
  if (status < memoryStatus.MEMORY_OK) throw nativeError(status);
}
