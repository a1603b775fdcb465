import { describe, describeThrown, quoted } from "./describe.ts";
import { MemoryError } from "./memory-error.ts";

// The native boundary checks nothing: a NaN, a fraction or an object would arrive there as some
// number. Whatever comes from outside passes through here first.

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

/**
 * Whether the value is a whole number from 0 to 2^32 - 1, and not -0. The cheapest check there is: it
 * lets most values pass, of which the others are looked at more closely.
 */
export function isSmallWholeNumber(value: unknown): value is number {
  return typeof value === "number" && Object.is(value >>> 0, value);
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

/**
 * Whether the value can be a CUDA ordinal. The number -0 is none: it would come back as -0, which
 * `Object.is` and tests tell from the 0 of the same GPU.
 */
export function isDeviceId(value: unknown): value is number {
  return isWholeNumber(value) && !Object.is(value, -0);
}

/** @throws {MemoryError} `INVALID_ARG` unless the value can be a CUDA ordinal. */
export function checkDeviceId(operation: string, value: unknown): void {
  if (!isDeviceId(value)) {
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

/** @throws {MemoryError} `INVALID_ARG` unless the value is `true` or `false`. */
export function checkBoolean(operation: string, name: string, value: unknown): void {
  if (typeof value !== "boolean") throw invalidArgument(operation, name, "true or false", value);
}

/** Whether the value is an object with nothing but its own properties: no Map, no array. */
function isRecord(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  // Another realm's objects have a prototype of their own, which again has none.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * Reads an argument that is an object, which may be a Proxy or have getters.
 *
 * @throws {MemoryError} Of `read` as it is; `INVALID_ARG` for whatever else that throws.
 */
export function readArgument<Result>(operation: string, name: string, read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    if (error instanceof MemoryError) throw error;
    throw new MemoryError(
      "INVALID_ARG",
      `${operation}: ${name} cannot be read: ${describeThrown(error)}`,
    );
  }
}

/**
 * The options that a call was given, each read once. Options that are `undefined` are left out.
 *
 * @param names All options that the call has.
 * @throws {MemoryError} `INVALID_ARG` unless the value is an options object or `undefined`, and for
 * an option that the call does not have.
 */
export function checkOptions<Options extends object>(
  operation: string,
  value: Options | undefined,
  names: readonly (keyof Options & string)[],
): Partial<Options> {
  const options: Partial<Options> = {};
  if (value === undefined) return options;
  if (typeof value !== "object" || value === null) {
    throw invalidArgument(operation, "options", "an object", value);
  }
  return readArgument(operation, "options", () => {
    checkOptionNames(operation, value, names);
    // A stream or a Map in the place of the options has none of them, and would be ignored.
    if (!isRecord(value) && !names.some((name) => name in value)) {
      throw invalidArgument(operation, "options", "an object with options", value);
    }
    for (const name of names) {
      const option = value[name];
      if (option !== undefined) options[name] = option;
    }
    return options;
  });
}

function checkOptionNames(operation: string, options: object, names: readonly string[]): void {
  for (const name in options) {
    if (names.includes(name)) continue;
    // What a program adds to the prototype of all objects is no option of this one.
    if (!Object.hasOwn(options, name) && name in Object.prototype) continue;
    throw new MemoryError(
      "INVALID_ARG",
      `${operation}: there is no option ${quoted(name)}; the options are ${names.join(", ")}`,
    );
  }
}

/**
 * What a record by GPU has for each, such as the size of its pool.
 *
 * @param checkValue Throws for what cannot be a value.
 * @throws {MemoryError} `INVALID_ARG` for a key that is no ordinal; and what `checkValue` throws.
 */
export function checkRecordByGpu<Value>(
  operation: string,
  name: string,
  record: Readonly<Record<number, Value>> | undefined,
  checkValue: (operation: string, name: string, value: unknown) => void,
): Map<number, Value> {
  if (record === undefined) return new Map();
  return readArgument(operation, name, () => {
    if (!isRecord(record)) {
      throw invalidArgument(operation, name, "a record of byte sizes by GPU", record);
    }
    const values = new Map<number, Value>();
    for (const [key, value] of Object.entries(record)) {
      const deviceId = Number(key);
      if (!isWholeNumber(deviceId) || String(deviceId) !== key) {
        throw invalidArgument(operation, `a key of ${name}`, "a GPU's ordinal: 0, 1, 2 ...", key);
      }
      checkValue(operation, `${name}[${key}]`, value);
      values.set(deviceId, value);
    }
    return values;
  });
}
