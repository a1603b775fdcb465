import { types } from "node:util";
import { invalidArgument } from "../arguments.ts";

/**
 * The bytes of an ArrayBuffer, or of a view of any element type; of one that can grow, as many as
 * it has now.
 *
 * @throws {MemoryError} `INVALID_ARG` for anything else, and where the buffer is detached.
 */
export function bytesOf(operation: string, name: string, value: unknown): Uint8Array {
  try {
    if (ArrayBuffer.isView(value)) {
      return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    }
    if (types.isAnyArrayBuffer(value)) return new Uint8Array(value, 0, value.byteLength);
  } catch {
    throw invalidArgument(operation, name, "a buffer that is not detached", value);
  }
  throw invalidArgument(operation, name, "an ArrayBuffer or a view of one", value);
}
