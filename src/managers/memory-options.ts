import { parseArgs } from "node:util";
import { isWholeNumber } from "../arguments.ts";
import { MemoryError } from "../memory-error.ts";
import { parseByteSize } from "./byte-size.ts";

/** What {@link parseMemoryOptions} returns and {@link createMemoryManagers} takes. */
export interface MemoryOptions {
  /** Bytes of each GPU's pool, by CUDA ordinal; 0 disables a GPU's pool. */
  cudaMemoryPoolByteSize?: Record<number, number>;
  /** Bytes of the pinned memory pool; 0 disables it. */
  pinnedMemoryPoolByteSize?: number;
  /** GPUs below this compute capability are not used. */
  minSupportedComputeCapability?: number;
}

const options = {
  "cuda-memory-pool-byte-size": { type: "string", multiple: true },
  "pinned-memory-pool-byte-size": { type: "string", multiple: true },
  "min-supported-compute-capability": { type: "string", multiple: true },
} as const;

function invalidValue(name: string, expected: string, got: unknown): MemoryError {
  const shown = typeof got === "string" ? `"${got}"` : "no value";
  return new MemoryError("INVALID_ARG", `--${name}: expected ${expected}, got ${shown}`);
}

const byteSizeForms = "whole bytes such as 67108864, 64MiB or 1GB";

function parsePool(name: string, value: unknown): [deviceId: number, byteSize: number] {
  const parts = typeof value === "string" ? value.split(":") : [];
  const [gpu = "", size = ""] = parts;
  const byteSize = parseByteSize(size);
  const deviceId = /^\d+$/.test(gpu) ? Number(gpu) : NaN;
  if (parts.length !== 2 || byteSize === null || !isWholeNumber(deviceId)) {
    throw invalidValue(name, `<GPU id>:<size>, the size in ${byteSizeForms}`, value);
  }
  return [deviceId, byteSize];
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

/**
 * Reads the memory options of a server's command line, named as Triton names them. Each may be
 * written `--name value` or `--name=value` and repeated: the last one wins, for CUDA pools the last
 * one for each GPU. Sizes are whole bytes, or take a unit: `KiB MiB GiB TiB`, or `KB MB GB TB`
 * (powers of ten). Options of other names are ignored.
 *
 * - `--cuda-memory-pool-byte-size <GPU id>:<size>`
 * - `--pinned-memory-pool-byte-size <size>`
 * - `--min-supported-compute-capability <x.y>`
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
  if (!Array.isArray(argv) || !argv.every((argument) => typeof argument === "string")) {
    throw new MemoryError("INVALID_ARG", "parseMemoryOptions: argv must be an array of strings");
  }
  // The server has options of its own, which a strict parser would refuse.
  const { values } = parseArgs({ args: argv, options, strict: false, allowPositionals: true });
  const parsed: MemoryOptions = {};
  const valuesOf = (name: keyof typeof options) => (values[name] ?? []) as unknown[];
  for (const value of valuesOf("cuda-memory-pool-byte-size")) {
    const [deviceId, byteSize] = parsePool("cuda-memory-pool-byte-size", value);
    parsed.cudaMemoryPoolByteSize ??= {};
    parsed.cudaMemoryPoolByteSize[deviceId] = byteSize;
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
  return parsed;
}
