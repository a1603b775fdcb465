import { MemoryError } from "./memory-error.ts";

// The native boundary checks nothing: a NaN, a fraction or an object would arrive there as some
// number. Whatever comes from outside passes through here first.

/** Describes a value for a message. Runs no code of the value's own, which might throw. */
function describe(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 100));
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "function") return "a function";
  if (typeof value === "symbol") return "a symbol";
  if (typeof value !== "object" || value === null) return String(value);
  return Array.isArray(value) ? "an array" : "an object";
}

/** The error for an argument that is not what it has to be. */
export function invalidArgument(
  operation: string,
  name: string,
  expected: string,
  got: unknown,
): MemoryError {
  return new MemoryError(
    "INVALID_ARG",
    `${operation}: ${name} must be ${expected}, got ${describe(got)}`,
  );
}

/** Whether the value is a whole number from 0 to 2^53 - 1. Cheaper than `Number.isSafeInteger`. */
export function isWholeNumber(value: unknown): value is number {
  return (
    typeof value === "number" &&
    value >= 0 &&
    value <= Number.MAX_SAFE_INTEGER &&
    Math.floor(value) === value
  );
}

/** @throws {MemoryError} `INVALID_ARG` unless the value is a whole number of bytes. */
export function checkByteSize(operation: string, name: string, value: unknown): void {
  if (!isWholeNumber(value)) {
    throw invalidArgument(operation, name, "a whole number of bytes from 0 to 2^53 - 1", value);
  }
}

/** @throws {MemoryError} `INVALID_ARG` unless the value is a whole number of bytes above 0. */
export function checkRequest(operation: string, byteSize: unknown): void {
  if (!isWholeNumber(byteSize) || byteSize === 0) {
    throw invalidArgument(
      operation,
      "byteSize",
      "a whole number of bytes from 1 to 2^53 - 1",
      byteSize,
    );
  }
}

/** @throws {MemoryError} `INVALID_ARG` unless the value can be a CUDA ordinal. */
export function checkDeviceId(operation: string, value: unknown): void {
  if (!isWholeNumber(value)) {
    throw invalidArgument(operation, "deviceId", "a GPU's ordinal: 0, 1, 2 ...", value);
  }
}

/** @throws {MemoryError} `INVALID_ARG` unless the value can be an address. */
export function checkPointer(operation: string, value: unknown): void {
  if (!isWholeNumber(value) || value === 0) {
    throw invalidArgument(operation, "pointer", "an address, as a number above 0", value);
  }
}

/** @throws {MemoryError} `INVALID_ARG` unless the value is a compute capability such as 8.6. */
export function checkComputeCapability(operation: string, name: string, value: unknown): void {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw invalidArgument(operation, name, "a compute capability such as 6.0", value);
  }
}

/** @throws {MemoryError} `INVALID_ARG` unless the value is an options object or left out. */
export function checkOptions(operation: string, value: unknown): void {
  if (value !== undefined && (typeof value !== "object" || value === null)) {
    throw invalidArgument(operation, "options", "an object", value);
  }
}

/** Whether the value is an object with nothing but its own properties: no Map, no array. */
function isRecord(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/**
 * The pool size of each GPU, from a record of sizes by ordinal.
 *
 * @throws {MemoryError} `INVALID_ARG` for a key that is no ordinal or a size that is no byte size.
 */
export function checkPoolByteSizes(
  operation: string,
  name: string,
  record: unknown,
): Map<number, number> {
  const byteSizes = new Map<number, number>();
  if (record === undefined) return byteSizes;
  if (!isRecord(record)) {
    throw invalidArgument(operation, name, "a record of byte sizes by GPU", record);
  }
  for (const [key, byteSize] of Object.entries(record)) {
    const deviceId = /^\d+$/.test(key) ? Number(key) : NaN;
    if (!isWholeNumber(deviceId)) {
      throw invalidArgument(operation, `a key of ${name}`, "a GPU's ordinal: 0, 1, 2 ...", key);
    }
    checkByteSize(operation, `${name}[${key}]`, byteSize);
    byteSizes.set(deviceId, byteSize as number);
  }
  return byteSizes;
}
