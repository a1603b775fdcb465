import { log } from "../logger.ts";
import { freeAllocation, type NativeAllocation } from "../native/allocation.ts";
import { memoryAllocation as at, memoryStatus } from "../native/memory-symbols.ts";
import { nativeMessage } from "../native/status.ts";
import { memoryTypes } from "./memory-type.ts";

/** Frees a memory that was garbage collected without having been freed, and warns about it. */
export function freeDropped(allocation: NativeAllocation): void {
  const memoryType = allocation[at.memory_type]!;
  const memoryTypeId = allocation[at.device_id]!;
  const status = freeAllocation(allocation);
  if (status !== memoryStatus.MEMORY_OK) log.error(nativeMessage());
  log.warn(
    `an AllocatedMemory of ${allocation[at.byte_size]} bytes (${memoryTypes[memoryType]} ` +
      `${memoryTypeId}) was never freed; it has been freed now that it was garbage collected`,
  );
}
