import type { NativeAllocation } from "../native/allocation.ts";
import { memoryAllocation } from "../native/memory-symbols.ts";
import { packageVersion } from "../native/version.ts";

/**
 * The method by which a memory answers this package's own functions, whichever copy of the package
 * made it: the sources beside the built files, the module before a hot reload and after it.
 */
export const memoryKey = Symbol.for(`bun-cuda-memory.memory ${packageVersion}`);

const memberCount = Object.keys(memoryAllocation).length;

/** The method of an object, which may be a Proxy that has been revoked. */
function accessOf(object: object): unknown {
  try {
    return (object as { [memoryKey]?: unknown })[memoryKey];
  } catch {
    return undefined;
  }
}

/** Asks an object that is not of this copy of the package; `null` where it is no memory. */
export function foreignAllocationOf(operation: string, object: object): NativeAllocation | null {
  const access = accessOf(object);
  if (typeof access !== "function") return null;
  const allocation: unknown = access.call(object, operation);
  const isAllocation =
    ArrayBuffer.isView(allocation) && (allocation as NativeAllocation).length === memberCount;
  return isAllocation ? (allocation as NativeAllocation) : null;
}
