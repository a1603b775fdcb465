import type { Pointer } from "bun:ffi";
import { checkCuda } from "./cuda-error.ts";
import type { Cudart } from "./cudart.ts";
import { cudaMemoryTypes, cudaPointerAttributes as at } from "./cudart-symbols.ts";

/**
 * What CUDA knows of an address. A type that is newer than this package is `"unregistered"`.
 *
 * @throws {MemoryError} `INTERNAL` where CUDA fails.
 */
export function readPointerAttributes(
  cudart: Cudart,
  pointer: Pointer,
): { type: (typeof cudaMemoryTypes)[number]; device: number } {
  const attributes = new Int32Array(new ArrayBuffer(at.byteSize));
  const error = cudart.cudaPointerGetAttributes(attributes, pointer);
  checkCuda(cudart, error, "cudaPointerGetAttributes", `look up 0x${pointer.toString(16)}`);
  return {
    type: cudaMemoryTypes[attributes[at.type / 4]!] ?? "unregistered",
    device: attributes[at.device / 4]!,
  };
}
