import { invalidArgument } from "../arguments.ts";

const byteSizeMax = 1024;

/** @throws {MemoryError} `INVALID_ARG` unless the value can be an account's name. */
export function checkAccountName(
  operation: string,
  argument: string,
  value: unknown,
): asserts value is string {
  const isName =
    typeof value === "string" &&
    value !== "" &&
    !value.includes("\0") &&
    value.isWellFormed() &&
    Buffer.byteLength(value) <= byteSizeMax;
  if (isName) return;
  const expected = `a name of 1 to ${byteSizeMax} bytes of UTF-8, without a zero`;
  throw invalidArgument(operation, argument, expected, value);
}
