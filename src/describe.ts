// What values are called in messages. Nothing here throws, whatever the value, and what it returns
// is of bounded length.

/** The most characters of a text that a message repeats. */
const excerptLengthMax = 100;

/** The beginning of a text, which is cut between two characters; says where something was cut. */
export function excerpt(text: string, lengthMax = excerptLengthMax): string {
  if (text.length <= lengthMax) return text;
  const isInsideCharacter = /[\uD800-\uDBFF]/.test(text[lengthMax - 1]!);
  return `${text.slice(0, isInsideCharacter ? lengthMax - 1 : lengthMax)}...`;
}

/** A text in quotes. What is cut of it has its dots outside of them. */
export function quoted(text: string): string {
  const shown = excerpt(text);
  return shown === text ? JSON.stringify(text) : `${JSON.stringify(shown.slice(0, -3))}...`;
}

/** Whether the value is an array; a Proxy that was revoked is none. */
export function isArray(value: unknown): value is readonly unknown[] {
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}

/** Describes a value. Runs no code of the value's own, which might throw. */
export function describe(value: unknown): string {
  if (typeof value === "string") return quoted(value);
  if (typeof value === "bigint") return describeBigint(value);
  if (typeof value === "function") return "a function";
  if (typeof value === "symbol") return "a symbol";
  if (Object.is(value, -0)) return "-0";
  if (typeof value !== "object" || value === null) return String(value);
  return isArray(value) ? "an array" : "an object";
}

/** Writing a large number down would take longer than whatever the message is about. */
function describeBigint(value: bigint): string {
  return BigInt.asIntN(128, value) === value ? `${value}n` : "a large bigint";
}

/** What the message of a thrown value may have; CUDA's and the loader's are shorter. */
const thrownLengthMax = 1000;

/** Describes what was thrown, which need not be an error, and may be made so as to throw again. */
export function describeThrown(thrown: unknown): string {
  try {
    return excerpt(thrown instanceof Error ? String(thrown) : describe(thrown), thrownLengthMax);
  } catch {
    return "an error that cannot be shown";
  }
}
