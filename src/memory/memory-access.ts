import type { NativeAllocation } from "../native/allocation.ts";
import { memoryAllocation } from "../native/memory-symbols.ts";
import { packageVersion } from "../native/version.ts";

/** A memory, or bytes of JS memory, of which a reference is made up. */
export interface ReferencedPiece {
  readonly source: object | Uint8Array;
  /** As it was when the piece was added. */
  readonly byteSize: number;
}

/**
 * The method by which a memory answers this package's own functions, whichever copy of the package
 * made it: the sources beside the built files, the module before a hot reload and after it.
 */
export const memoryKey = Symbol.for(`bun-cuda-memory.memory ${packageVersion}`);

/** The same for a reference to several buffers. */
export const referenceKey = Symbol.for(`bun-cuda-memory.reference ${packageVersion}`);

const memberCount = Object.keys(memoryAllocation).length;

/** The method of an object, which may be a Proxy that has been revoked. */
function accessOf(object: object, key: symbol): unknown {
  try {
    return (object as Record<symbol, unknown>)[key];
  } catch {
    return undefined;
  }
}

/** Asks an object that is not of this copy of the package; `null` where it is no memory. */
export function foreignAllocationOf(operation: string, object: object): NativeAllocation | null {
  const access = accessOf(object, memoryKey);
  if (typeof access !== "function") return null;
  const allocation: unknown = access.call(object, operation);
  const isAllocation =
    ArrayBuffer.isView(allocation) && (allocation as NativeAllocation).length === memberCount;
  return isAllocation ? (allocation as NativeAllocation) : null;
}

/** Asks an object that is not of this copy of the package; `null` where it is no reference. */
export function foreignPiecesOf(object: object): readonly ReferencedPiece[] | null {
  const access = accessOf(object, referenceKey);
  if (typeof access !== "function") return null;
  const pieces: unknown = access.call(object);
  return Array.isArray(pieces) ? (pieces as readonly ReferencedPiece[]) : null;
}
