import { log } from "../logger.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { memoryStatus } from "../native/memory-symbols.ts";
import { nativeMessages } from "../native/status.ts";

/**
 * Lets the GPUs use each other's memory. Where that fails, copies between them take a longer way, of
 * which it warns.
 */
export function enablePeerAccess(deviceIds: readonly number[]): void {
  if (deviceIds.length < 2) return;
  const status = memoryLibrary.peer_access_enable(Float64Array.from(deviceIds), deviceIds.length);
  if (status === memoryStatus.MEMORY_OK) return;
  for (const message of nativeMessages()) log.warn("device", message);
}
