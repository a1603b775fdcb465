import { ProtocolError } from "./protocol-error.ts";

// The elements of a BYTES tensor: each is four bytes with its length, the lowest first, and as many
// bytes as that says.

const lengthByteSize = 4;

export function packElements(elements: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const byteSize = elements.reduce((sum, { byteLength }) => sum + lengthByteSize + byteLength, 0);
  const packed = new Uint8Array(byteSize);
  const view = new DataView(packed.buffer);
  let offset = 0;
  for (const element of elements) {
    view.setUint32(offset, element.byteLength, true);
    packed.set(element, offset + lengthByteSize);
    offset += lengthByteSize + element.byteLength;
  }
  return packed;
}

/** @throws {ProtocolError} where a length leads beyond the end. */
export function* unpackElements(name: string, packed: Uint8Array): Generator<Uint8Array> {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  let offset = 0;
  while (offset < packed.byteLength) {
    const begin = offset + lengthByteSize;
    const end = begin <= packed.byteLength ? begin + view.getUint32(offset, true) : Infinity;
    if (end > packed.byteLength) {
      throw new ProtocolError(`input ${name}: the element at byte ${offset} has no end`);
    }
    yield packed.subarray(begin, end);
    offset = end;
  }
}

/** @throws {ProtocolError} where the bytes are not as many elements as the shape says. */
export function checkElements(name: string, packed: Uint8Array, elementCount: number): void {
  let count = 0;
  for (const _element of unpackElements(name, packed)) count++;
  if (count !== elementCount) {
    throw new ProtocolError(`input ${name}: expected ${elementCount} elements, got ${count}`);
  }
}
