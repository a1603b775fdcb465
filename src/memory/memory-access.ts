import type { NativeAllocation } from "../native/allocation.ts";
import { memoryAllocation } from "../native/memory-symbols.ts";
import { packageVersion } from "../native/version.ts";

/**
 * The method by which a memory answers this package's own functions, whichever copy of the package
 * made it: the sources beside the built files, the module before a hot reload and after it.
 */
export const memoryKey = Symbol.for(`bun-cuda-memory.memory ${packageVersion}`);

const memberCount = Object.keys(memoryAllocation).length;

/** Asks an object that is not of this copy of the package; `null` where it is no memory. */
export function foreignAllocationOf(operation: string, object: object): NativeAllocation | null {
  let access: unknown;
  try {
    access = (object as { [memoryKey]?: unknown })[memoryKey];
  } catch {
    return null; // a Proxy that was revoked, say
  }
  if (typeof access !== "function") return null;
  const allocation: unknown = access.call(object, operation);
  const isAllocation =
    ArrayBuffer.isView(allocation) && (allocation as NativeAllocation).length === memberCount;
  return isAllocation ? (allocation as NativeAllocation) : null;
}
