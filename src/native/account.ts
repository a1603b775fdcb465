import type { Pointer } from "bun:ffi";
import { MemoryError } from "../memory-error.ts";
import { cString } from "./c-string.ts";
import { arrayBufferOf } from "./host-memory.ts";
import { memoryLibrary } from "./memory-library.ts";
import { memoryAccountStats, memoryStatus } from "./memory-symbols.ts";
import { nativeError } from "./status.ts";
import { newStruct } from "./struct.ts";

const {
  account_copy_name,
  account_list,
  account_open,
  account_read_stats,
  account_reference_begin,
  account_reference_end,
  account_reference_make,
} = memoryLibrary;

/** An account that is not forgotten before the reference is garbage collected, or its thread ends. */
export interface ReferencedAccount {
  readonly key: number;
  readonly reference: ArrayBuffer;
}

/** A `struct memory_account_stats`. */
export type NativeAccountStats = Float64Array;

/**
 * The key of the account with this name, which nothing keeps from being forgotten.
 *
 * @throws {MemoryError} `UNAVAILABLE` where there are as many accounts as there can be.
 */
export function openAccount(name: string): number {
  const key = account_open(cString(name));
  if (key < memoryStatus.MEMORY_OK) throw nativeError(key);
  return key;
}

/** The same, with a reference. */
export function openReferencedAccount(name: string): ReferencedAccount {
  for (;;) {
    const account = referenced(openAccount(name));
    if (account !== null) return account; // it may be forgotten meanwhile
  }
}

/** All accounts, with references. */
export function listAccounts(): ReferencedAccount[] {
  for (let countMax = 256; ; countMax *= 2) {
    const keys = new Float64Array(new ArrayBuffer(countMax * Float64Array.BYTES_PER_ELEMENT));
    const count = account_list(keys, countMax);
    if (count > countMax) continue;
    return [...keys.subarray(0, count)].map(referenced).filter((account) => account !== null);
  }
}

/** Makes a reference of an account; `null` where it was forgotten. */
function referenced(key: number): ReferencedAccount | null {
  const record = account_reference_make();
  if (record === 0) throw new MemoryError("OUT_OF_MEMORY", "the system refuses memory");
  const reference = referenceOf(record);
  return account_reference_begin(record, key) === 0 ? null : { key, reference };
}

function referenceOf(record: number): ArrayBuffer {
  const byteSize = Float64Array.BYTES_PER_ELEMENT;
  try {
    return arrayBufferOf(record as Pointer, byteSize, "account_reference_end", record);
  } catch (error) {
    account_reference_end(null, record as Pointer);
    throw error;
  }
}

/** The name of an account; `null` where it was forgotten. */
export function accountName(key: number): string | null {
  for (let byteSizeMax = 256; ; byteSizeMax *= 4) {
    const bytes = new Uint8Array(new ArrayBuffer(byteSizeMax));
    const byteSize = account_copy_name(key, bytes, byteSizeMax);
    if (byteSize === 0) return null;
    if (byteSize <= byteSizeMax) return new TextDecoder().decode(bytes.subarray(0, byteSize));
  }
}

/** Reads what an account has of the memory of one place; of all together where that is -1. */
export function readAccountStats(key: number, place: number): NativeAccountStats {
  const stats = newStruct(memoryAccountStats);
  account_read_stats(key, place, stats);
  return stats;
}
