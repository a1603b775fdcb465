import type { Pointer } from "bun:ffi";
import { log } from "../logger.ts";
import type { MemoryCause } from "../message-channel.ts";
import { MemoryError, type MemoryErrorCode, type MemoryErrorFigures } from "../memory-error.ts";
import { counterAt } from "./host-memory.ts";
import { memoryLibrary } from "./memory-library.ts";
import { memoryCause, memoryFailure as at, memoryStatus } from "./memory-symbols.ts";
import { tellServed } from "./served-requests.ts";
import { newStruct } from "./struct.ts";

const codes = Object.fromEntries(
  Object.entries(memoryStatus).map(([name, status]) => [status, name.replace("MEMORY_", "")]),
);

/**
 * What the calling thread's last call had to say: a line for each thing that went wrong. Also logs,
 * once in the process, that CUDA is lost.
 */
export function nativeMessages(): string[] {
  const message = String(memoryLibrary.memory_message());
  reportLostCuda();
  return message === "" ? [] : message.split("\n");
}

/** The lines of {@link nativeMessages}, joined to one sentence. */
export function nativeMessage(): string {
  return nativeMessages().join("; ");
}

/** Is not 0 while CUDA is lost and nobody in the process has logged it. */
const lostReportCount = counterAt(memoryLibrary.cuda_lost_report_address() as Pointer);

/** Whether {@link reportLostCuda} may have something to log. */
export function hasLostReport(): boolean {
  return lostReportCount[0] !== 0;
}

/** Logs, once in the process, that CUDA is lost, if it is. */
export function reportLostCuda(): void {
  if (!hasLostReport()) return;
  if (memoryLibrary.cuda_take_lost_report() !== memoryStatus.MEMORY_OK) return;
  log.error("lost", String(memoryLibrary.memory_message()));
}

const causes: Readonly<Record<number, MemoryCause>> = {
  [memoryCause.MEMORY_CAUSE_FULL]: "full",
  [memoryCause.MEMORY_CAUSE_TOO_LARGE]: "too large",
  [memoryCause.MEMORY_CAUSE_NO_POOL]: "no pool",
  [memoryCause.MEMORY_CAUSE_LOST]: "lost",
  [memoryCause.MEMORY_CAUSE_NO_TABLES]: "no tables",
  [memoryCause.MEMORY_CAUSE_OVER_LIMIT]: "over the limit",
};

/**
 * Why the calling thread's last call, which was a request, was not served by the kind of memory that
 * it began with.
 */
export function nativeCause(): MemoryCause {
  const failure = newStruct(at);
  memoryLibrary.memory_last_failure(failure);
  return causes[failure[at.cause]!]!;
}

/** The figures of what the calling thread's last call had to say. */
function nativeFigures(): MemoryErrorFigures {
  const failure = newStruct(at);
  memoryLibrary.memory_last_failure(failure);
  const known = (figure: number) => (Number.isNaN(figure) ? undefined : figure);
  return {
    cudaError: failure[at.cuda_error] || undefined,
    requestedByteSize: known(failure[at.requested_byte_size]!),
    freeByteSize: known(failure[at.free_byte_size]!),
    largestFreeByteSize: known(failure[at.largest_free_byte_size]!),
  };
}

/** The error for a call that returned `status`, with the message that the call left. */
export function nativeError(status: number): MemoryError {
  const code = (codes[status] ?? "UNKNOWN") as MemoryErrorCode;
  const figures = nativeFigures();
  return new MemoryError(code, nativeMessage(), figures);
}

/**
 * Reads what a call returned. Also tells threads whose requests it has served, and logs, once in the
 * process, that CUDA is lost, which a call that succeeds may have found out too.
 *
 * @throws {MemoryError} where the `memory_status` is a failure.
 */
export function checkStatus(status: number): void {
  if (status < memoryStatus.MEMORY_OK) throw nativeError(status);
  if (status === memoryStatus.MEMORY_OK_SERVED) tellServed();
  reportLostCuda();
}
