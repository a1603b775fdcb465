import { packElements, unpackElements } from "./bytes-tensor.ts";
import type { Datatype } from "./datatype.ts";
import { ProtocolError } from "./protocol-error.ts";
import { dimensionCountMax, elementCountOf, type TensorSpec } from "./tensor-spec.ts";

// Tensors whose elements are in the JSON, flat or nested, and not behind it.

type Numbers = {
  [Symbol.iterator](): IterableIterator<number | bigint>;
  [index: number]: number | bigint;
} & ArrayBufferView<ArrayBuffer>;
type NumbersOf = new (buffer: ArrayBuffer, byteOffset: number, length: number) => Numbers;

/** The machines that CUDA runs on have the lowest byte first, as the protocol does. */
const arrays: Partial<Record<Datatype, NumbersOf>> = {
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP32: Float32Array,
  FP64: Float64Array,
};

/** All elements in their order. What is nested deeper than a shape can be stays an array. */
function flatten(data: unknown, depth = 0, flat: unknown[] = []): unknown[] {
  if (!Array.isArray(data) || depth === dimensionCountMax) flat.push(data);
  else for (const element of data) flatten(element, depth + 1, flat);
  return flat;
}

/** @throws {ProtocolError} for an element that the datatype cannot have as it is. */
function checkedNumber(spec: TensorSpec, numbers: Numbers, value: unknown): number | bigint {
  const { name, datatype } = spec;
  if (typeof value === "number") {
    if (datatype === "FP32" || datatype === "FP64") return value;
    if (Number.isSafeInteger(value)) {
      // What does not fit is cut off as it is stored, and then differs.
      const stored = datatype.endsWith("64") ? BigInt(value) : value;
      numbers[0] = stored;
      if (numbers[0] === stored) return stored;
    }
  }
  throw new ProtocolError(
    `input ${name}: ${JSON.stringify(value)?.slice(0, 40)} is no ${datatype} that JSON can hold exactly`,
  );
}

/**
 * The bytes of a tensor whose elements a client has sent as JSON.
 *
 * @throws {ProtocolError} where they are not as many as the shape says, or not of the datatype.
 */
export function bytesOfJson(spec: TensorSpec, data: unknown): Uint8Array<ArrayBuffer> {
  const { name, datatype, shape } = spec;
  const elements = flatten(data);
  const elementCount = elementCountOf(shape);
  if (!Array.isArray(data) || elements.length !== elementCount) {
    throw new ProtocolError(`input ${name}: "data" must have the ${elementCount} elements`);
  }
  if (datatype === "BYTES") {
    if (!elements.every((element) => typeof element === "string")) {
      throw new ProtocolError(`input ${name}: elements of BYTES are strings in JSON`);
    }
    return packElements(elements.map((element) => Buffer.from(element)));
  }
  if (datatype === "BOOL") {
    if (!elements.every((element) => typeof element === "boolean")) {
      throw new ProtocolError(`input ${name}: elements of BOOL are true or false`);
    }
    return Uint8Array.from(elements, Number);
  }
  const NumbersOf = arrays[datatype];
  if (NumbersOf === undefined) throw notInJson(name, datatype);
  const probe = new NumbersOf(new ArrayBuffer(8), 0, 1);
  const checked = elements.map((element) => checkedNumber(spec, probe, element));
  const elementByteSize = probe.byteLength;
  const buffer = new ArrayBuffer(elementCount * elementByteSize);
  const numbers = new NumbersOf(buffer, 0, elementCount);
  for (const [index, value] of checked.entries()) numbers[index] = value;
  return new Uint8Array(buffer);
}

function notInJson(name: string, datatype: Datatype): ProtocolError {
  return new ProtocolError(`${name}: ${datatype} has no form in JSON; use binary data`);
}

function jsonOfNumber(name: string, value: number | bigint): string {
  if (typeof value === "bigint" || Number.isFinite(value)) return String(value);
  throw new ProtocolError(`output ${name}: ${value} has no form in JSON; ask for binary data`);
}

function jsonOfText(name: string, element: Uint8Array): string {
  try {
    return JSON.stringify(new TextDecoder("utf-8", { fatal: true }).decode(element));
  } catch {
    throw new ProtocolError(`output ${name}: an element is not UTF-8; ask for binary data`);
  }
}

/**
 * The elements of a tensor as a JSON array. The bytes begin where a typed array may.
 *
 * @throws {ProtocolError} for what JSON cannot hold.
 */
export function jsonOfBytes(
  { name, datatype }: TensorSpec,
  bytes: Uint8Array<ArrayBuffer>,
): string {
  if (datatype === "BYTES") {
    const elements = [...unpackElements(name, bytes)];
    return `[${elements.map((element) => jsonOfText(name, element)).join()}]`;
  }
  if (datatype === "BOOL") return `[${Array.from(bytes, (byte) => byte !== 0).join()}]`;
  const NumbersOf = arrays[datatype];
  if (NumbersOf === undefined) throw notInJson(name, datatype);
  const elementByteSize = new NumbersOf(new ArrayBuffer(8), 0, 1).byteLength;
  const numbers = new NumbersOf(bytes.buffer, bytes.byteOffset, bytes.byteLength / elementByteSize);
  return `[${Array.from(numbers, (value) => jsonOfNumber(name, value)).join()}]`;
}
