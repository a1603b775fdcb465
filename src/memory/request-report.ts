import { log, warnOnce } from "../logger.ts";
import { hasSubscribers, type RequestMessage } from "../message-channel.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { deviceIdOf, memoryTypeOf } from "../native/memory-place.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import {
  hasLostReport,
  nativeCause,
  nativeMessage,
  nativeMessages,
  reportLostCuda,
} from "../native/status.ts";
import { memoryTypes } from "../native/memory-type.ts";

// What is said of requests that were not served as they were meant.

/** What the thread's last request was, and the cause that the native library has kept of it. */
function subjectOf<Event extends RequestMessage["event"]>(
  event: Event,
  byteSize: number,
  place: number,
  account: string | undefined,
) {
  const memoryType = memoryTypes[memoryTypeOf(place)]!;
  const subject = { event, byteSize, memoryType, memoryTypeId: deviceIdOf(place) };
  const cause = nativeCause();
  return account === undefined ? { ...subject, cause } : { ...subject, account, cause };
}

/**
 * Whether there is something to say of a request with this `memory_status`. Most fallbacks come here
 * for nothing: the process has been warned of their kind, and nobody reads the channel.
 */
export function isWorthReporting(status: number): boolean {
  return status !== memoryStatus.MEMORY_FALLBACK || hasSubscribers() || hasLostReport();
}

/**
 * Says that the thread's last request was served by a fallback. What reads that may make requests
 * itself: where the native library puts allocations there may be another one afterwards.
 *
 * @param status `MEMORY_OK_WITH_WARNINGS` or `MEMORY_FALLBACK`.
 * @param place Where the memory was to lie.
 * @param account The name of the request's account, if it has one.
 */
export function reportFallback(
  status: number,
  byteSize: number,
  place: number,
  account?: string,
): void {
  const isNew = status === memoryStatus.MEMORY_OK_WITH_WARNINGS;
  if (!isNew && !hasSubscribers()) return reportLostCuda();
  if (!isNew) memoryLibrary.memory_explain_fallback();
  const subject = subjectOf("fallback", byteSize, place, account);
  const texts = nativeMessages();
  warnOnce(subject, isNew ? texts : [], texts.join("; "));
}

/** Says that nothing could serve the thread's last request. */
export function reportRefusal(byteSize: number, place: number, account?: string): void {
  const subject = subjectOf("refused", byteSize, place, account);
  log.error(subject, nativeMessage());
}
