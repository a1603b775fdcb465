import { parseArgs } from "node:util";
import { isWholeNumber } from "../arguments.ts";
import { describe, isArray, quoted } from "../describe.ts";
import { MemoryError } from "../memory-error.ts";
import { isMemoryFallback, type MemoryFallback } from "../memory/memory-fallback.ts";
import { parseByteSize } from "./byte-size.ts";
import { misspelledOption } from "./misspelled-option.ts";
import { type MemoryPoolSize, parseShare } from "./pool-size.ts";

/** What {@link parseMemoryOptions} returns and {@link createMemoryManagers} takes. */
export interface MemoryOptions {
  /**
   * Bytes of each GPU's pool, by CUDA ordinal, or a share of the GPU's memory such as `"80%"`, from 0 to
   * 100 with at most nine decimals; 0 and `"0%"` disable a GPU's pool.
   */
  cudaMemoryPoolByteSize?: Record<number, MemoryPoolSize> | undefined;
  /** Bytes of the pinned memory pool; 0 disables it. */
  pinnedMemoryPoolByteSize?: number | undefined;
  /** GPUs below this compute capability are not used. */
  minSupportedComputeCapability?: number | undefined;
  /** Whether GPUs with pools may use each other's memory directly. Default `true`. */
  enablePeerAccess?: boolean | undefined;
  /** Whether a pool that cannot be made is an error that is thrown. Default `false`. */
  required?: boolean | undefined;
  /**
   * Bytes that all non-pinned memory may take together, what was freed and is still in use among it, so
   * that full pools do not end in the kernel's out-of-memory killer. 0 allows none. Without a limit by
   * default.
   */
  nonpinnedMemoryLimitByteSize?: number | undefined;
  /** How far requests may fall that do not say so themselves. Default `"system"`. */
  fallback?: MemoryFallback | undefined;
}

/** The name of every option, as `createMemoryManagers` knows it. */
export const memoryOptionNames: readonly (keyof MemoryOptions)[] = [
  "cudaMemoryPoolByteSize",
  "pinnedMemoryPoolByteSize",
  "minSupportedComputeCapability",
  "enablePeerAccess",
  "required",
  "nonpinnedMemoryLimitByteSize",
  "fallback",
];

const options = {
  "cuda-memory-pool-byte-size": { type: "string", multiple: true },
  "pinned-memory-pool-byte-size": { type: "string", multiple: true },
  "min-supported-compute-capability": { type: "string", multiple: true },
  "enable-peer-access": { type: "string", multiple: true },
  "memory-required": { type: "boolean", multiple: true },
  "nonpinned-memory-limit": { type: "string", multiple: true },
  "memory-fallback": { type: "string", multiple: true },
} as const;

function invalidValue(name: string, expected: string, got: unknown): MemoryError {
  const shown = typeof got === "string" ? quoted(got) : "no value";
  return new MemoryError("INVALID_ARG", `--${name}: expected ${expected}, got ${shown}`);
}

const byteSizeForms = "whole bytes such as 67108864, 64MiB or 1GB";

/** Reads a size in bytes, or a share, which stays as it is until a pool is made of it. */
function parsePoolSize(text: string): MemoryPoolSize | null {
  return parseShare(text) === null ? parseByteSize(text) : (text as MemoryPoolSize);
}

function parsePool(name: string, value: unknown): [deviceId: number, size: MemoryPoolSize] {
  const parts = typeof value === "string" ? value.split(":") : [];
  const [gpu = "", sizeText = ""] = parts;
  const size = parsePoolSize(sizeText);
  const deviceId = /^\d+$/.test(gpu) ? Number(gpu) : NaN;
  if (parts.length !== 2 || size === null || !isWholeNumber(deviceId)) {
    const expected = `<GPU id>:<size>, the size in ${byteSizeForms}, or a share such as 80%`;
    throw invalidValue(name, expected, value);
  }
  return [deviceId, size];
}

function parseSize(name: string, value: unknown): number {
  const byteSize = typeof value === "string" ? parseByteSize(value) : null;
  if (byteSize === null) throw invalidValue(name, byteSizeForms, value);
  return byteSize;
}

function parseComputeCapability(name: string, value: unknown): number {
  if (typeof value !== "string" || !/^\d{1,4}(\.\d{1,4})?$/.test(value)) {
    throw invalidValue(name, "a compute capability such as 6.0", value);
  }
  return Number(value);
}

function parseFallback(name: string, value: unknown): MemoryFallback {
  if (isMemoryFallback(value)) return value;
  throw invalidValue(name, "system, pinned or none", value);
}

/** Reads `true` or `false`. A flag that has no value is `true` as `parseArgs` gives it. */
function parseBoolean(name: string, value: unknown): boolean {
  const isFlag = options[name as keyof typeof options].type === "boolean";
  if (value === "true" || (isFlag && value === true)) return true;
  if (value === "false") return false;
  throw invalidValue(name, "true or false", value);
}

/** @throws {MemoryError} `INVALID_ARG` for what is no array of strings. */
function checkedArgv(argv: unknown): string[] {
  if (isArray(argv)) {
    try {
      const copy: unknown[] = Array.from(argv); // an array may have holes, or getters
      if (copy.every((argument) => typeof argument === "string")) return copy;
    } catch {} // refused as it would be for what the getter did not return
  }
  const got = isArray(argv) ? "an array with something else in it" : describe(argv);
  throw new MemoryError(
    "INVALID_ARG",
    `parseMemoryOptions: argv must be an array of strings, got ${got}`,
  );
}

/**
 * Joins a flag with the `true` or `false` after it, which a parser would take for an argument of
 * its own: `--memory-required false` would require memory.
 */
function joinFlagValues(args: readonly string[]): string[] {
  const joined: string[] = [];
  for (const argument of args) {
    const isValue = argument === "true" || argument === "false";
    if (isValue && joined.at(-1) === "--memory-required")
      joined.push(`${joined.pop()}=${argument}`);
    else joined.push(argument);
  }
  return joined;
}

/** @throws {MemoryError} `INVALID_ARG` for an argument that was meant to be one of the options. */
function refuseMisspelledOptions(args: readonly string[]): void {
  for (const argument of args) {
    if (argument === "--") return; // what follows are no options
    const meant = misspelledOption(argument, Object.keys(options));
    if (meant === null) continue;
    throw new MemoryError(
      "INVALID_ARG",
      `parseMemoryOptions: there is no option ${quoted(argument)}; did you mean --${meant}?`,
    );
  }
}

/**
 * Reads the memory options of a server's command line, named as Triton names them. Each may be
 * written `--name value` or `--name=value` and repeated: the last one wins, for CUDA pools the last
 * one for each GPU. Sizes are whole bytes, or take a unit: `KiB MiB GiB TiB`, or `KB MB GB TB`
 * (powers of ten). Options of other names are ignored, but for those that are nearly one of these:
 * they begin with `--cuda-memory-pool-` or `--pinned-memory-`, or differ in at most two letters.
 *
 * - `--cuda-memory-pool-byte-size <GPU id>:<size>`, the size also as a share of the GPU's memory: `80%`
 * - `--pinned-memory-pool-byte-size <size>`
 * - `--min-supported-compute-capability <x.y>`
 * - `--enable-peer-access <true|false>`
 * - `--memory-required`, which may also have a value, `true` or `false`
 * - `--nonpinned-memory-limit <size>`
 * - `--memory-fallback <system|pinned|none>`
 *
 * @throws {MemoryError} `INVALID_ARG`, naming the option and what it got.
 *
 * @example
 * ```ts
 * const options = parseMemoryOptions(process.argv.slice(2));
 * using managers = createMemoryManagers(options);
 * ```
 */
export function parseMemoryOptions(argv: readonly string[]): MemoryOptions {
  const args = joinFlagValues(checkedArgv(argv));
  refuseMisspelledOptions(args);
  // The server has options of its own, which a strict parser would refuse.
  const { values } = parseArgs({ args, options, strict: false, allowPositionals: true });
  const parsed: MemoryOptions = {};
  const valuesOf = (name: keyof typeof options) => (values[name] ?? []) as unknown[];
  for (const value of valuesOf("cuda-memory-pool-byte-size")) {
    const [deviceId, size] = parsePool("cuda-memory-pool-byte-size", value);
    parsed.cudaMemoryPoolByteSize ??= {};
    parsed.cudaMemoryPoolByteSize[deviceId] = size;
  }
  for (const value of valuesOf("pinned-memory-pool-byte-size")) {
    parsed.pinnedMemoryPoolByteSize = parseSize("pinned-memory-pool-byte-size", value);
  }
  for (const value of valuesOf("min-supported-compute-capability")) {
    parsed.minSupportedComputeCapability = parseComputeCapability(
      "min-supported-compute-capability",
      value,
    );
  }
  for (const value of valuesOf("enable-peer-access")) {
    parsed.enablePeerAccess = parseBoolean("enable-peer-access", value);
  }
  for (const value of valuesOf("memory-required")) {
    parsed.required = parseBoolean("memory-required", value);
  }
  for (const value of valuesOf("nonpinned-memory-limit")) {
    parsed.nonpinnedMemoryLimitByteSize = parseSize("nonpinned-memory-limit", value);
  }
  for (const value of valuesOf("memory-fallback")) {
    parsed.fallback = parseFallback("memory-fallback", value);
  }
  return parsed;
}
