/** Bytes of one element. Those of BYTES have a length of their own, in four bytes before each. */
const elementByteSizes = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  FP32: 4,
  FP64: 8,
  BF16: 2,
  BYTES: null,
} as const;

/** The protocol's names for what a tensor consists of. */
export type Datatype = keyof typeof elementByteSizes;

export function isDatatype(value: unknown): value is Datatype {
  return typeof value === "string" && Object.hasOwn(elementByteSizes, value);
}

/** Bytes of one element; `null` where each has a length of its own. */
export function elementByteSizeOf(datatype: Datatype): number | null {
  return elementByteSizes[datatype];
}
