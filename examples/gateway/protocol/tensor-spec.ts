import { type Datatype, elementByteSizeOf } from "./datatype.ts";
import { ProtocolError } from "./protocol-error.ts";

/** A tensor without its bytes. */
export interface TensorSpec {
  name: string;
  datatype: Datatype;
  shape: readonly number[];
}

export const dimensionCountMax = 8;

/** A shape as a client has sent it. Its product is safe to compute with. */
export function checkShape(name: string, shape: unknown): number[] {
  const isShape =
    Array.isArray(shape) &&
    shape.every((dimension) => Number.isSafeInteger(dimension) && dimension >= 0);
  if (!isShape || shape.length > dimensionCountMax) {
    throw new ProtocolError(
      `input ${name}: a shape has at most ${dimensionCountMax} dimensions, each a whole number ` +
        `from 0, got ${JSON.stringify(shape)?.slice(0, 100)}`,
    );
  }
  let product = 1;
  // Without the zeros: they would hide a product of the others that is past all bounds.
  for (const dimension of shape as number[]) product *= dimension || 1;
  if (!Number.isSafeInteger(product * 8)) {
    throw new ProtocolError(`input ${name}: a shape of [${shape}] has too many elements`);
  }
  return shape as number[];
}

export function elementCountOf(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}

/** Bytes of a tensor whose elements all have the same size; `null` for others. */
export function byteSizeOf({ datatype, shape }: TensorSpec): number | null {
  const elementByteSize = elementByteSizeOf(datatype);
  return elementByteSize === null ? null : elementByteSize * elementCountOf(shape);
}
