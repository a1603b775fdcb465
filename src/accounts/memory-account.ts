import { checkDeviceId, invalidArgument, isWholeNumber } from "../arguments.ts";
import {
  accountName,
  listAccounts,
  openReferencedAccount,
  readAccountStats,
  type ReferencedAccount,
} from "../native/account.ts";
import { memoryLibrary } from "../native/memory-library.ts";
import { placeOf } from "../native/memory-place.ts";
import { memoryAccountStats as at } from "../native/memory-symbols.ts";
import { termsOf } from "../native/request-terms.ts";
import { checkStatus } from "../native/status.ts";
import type { NativeStream } from "../native/stream.ts";
import { threadState } from "../native/thread-state.ts";
import { packageVersion } from "../native/version.ts";
import { type MemoryType, numberOfMemoryType } from "../native/memory-type.ts";
import { checkAccountName } from "./account-name.ts";

const { account_limit, account_reset_peak, account_set_limit } = memoryLibrary;

/** What an account has, and has had, of one kind of memory or of all together. */
export interface AccountStats {
  /** Bytes in live allocations, in whole 512-byte granules. */
  usedByteSize: number;
  /** The most that was used at one moment since the account was made or its peak was reset. */
  peakUsedByteSize: number;
  /** The number of live allocations. */
  allocationCount: number;
  /** The number of allocations since the account was made. */
  cumulativeAllocationCount: number;
  /** Bytes of all allocations since the account was made. */
  cumulativeByteSize: number;
  /** The number of requests that were over the limit, or threw for lack of memory. */
  failedAllocationCount: number;
  /** The number of requests that were served with memory of another kind than they asked for. */
  fallbackCount: number;
}

/** What a request asks for besides a size and a place. */
export interface AllocationRequest {
  stream: NativeStream | null;
  account: MemoryAccount | string | undefined;
  /** As {@link termsOf} has them. */
  terms: number;
}

/** The key of an account that this copy of the package has made, or -1. The class sets it. */
let keyOf: (account: object) => number;

/**
 * What a request asks for that names nothing but this account, or `null` where another copy of the package
 * has made it. The class sets it.
 */
export let requestForOwn: (account: object) => Readonly<AllocationRequest> | null;

/** The method by which an account of another copy of the package tells its name. */
const nameKey = Symbol.for(`bun-cuda-memory.account ${packageVersion}`);

/** The key of an account of this copy of the package; -1 for any other value. */
export function ownAccountKey(account: unknown): number {
  return typeof account === "object" && account !== null ? keyOf(account) : -1;
}

/** The name of an account, whichever copy of the package made it; `null` for any other value. */
export function accountNameOf(account: unknown): string | null {
  if (typeof account !== "object" || account === null) return null;
  try {
    const name: unknown = (account as { [nameKey]?: unknown })[nameKey];
    return typeof name === "string" ? name : null;
  } catch {
    return null; // a Proxy that has been revoked
  }
}

/** What keeps accounts from being forgotten as long as there are objects of them. */
const references = new WeakMap<MemoryAccount, ReferencedAccount>();

/** The accounts that this thread refers to, so that a name has one object. */
const accounts = threadState("accounts", () => new Map<string, WeakRef<MemoryAccount>>());

/** Forgets the names of collected accounts, when there are twice as many names as there were after the last time. */
let sweepSize = 64;

function sweepAccounts(): void {
  if (accounts.size < sweepSize) return;
  for (const [name, account] of accounts) {
    if (account.deref() === undefined) accounts.delete(name);
  }
  sweepSize = Math.max(64, 2 * accounts.size);
}

/**
 * Whom memory is for: a tenant, a model, a kind of request. An account counts what its requests have
 * got, in all pools and of all threads, and may have a limit, which no race can pass.
 *
 * There is one account for each name in a process. It is forgotten, with its figures, once it has no
 * memory, nobody waits for it, it has no limit, and nothing refers to it. A process can have 65,535.
 *
 * @example
 * ```ts
 * const tenant = MemoryAccount.of("tenant 7");
 * tenant.limitByteSize = 256 * 1024 * 1024;
 *
 * using tensor = new AllocatedMemory(4096, "GPU", 0, { account: tenant });
 * console.log(tenant.stats("GPU", 0).usedByteSize); // 4096
 * ```
 */
export class MemoryAccount {
  readonly #name: string;
  /** What the native library knows it by. */
  readonly #key: number;
  /** Made once, since most requests that name an account name nothing else. */
  readonly #request: Readonly<AllocationRequest>;

  static {
    requestForOwn = (account) => (#request in account ? account.#request : null);
    keyOf = (account) => (#key in account ? account.#key : -1);
    Object.defineProperty(MemoryAccount.prototype, nameKey, {
      get(this: unknown) {
        return typeof this === "object" && this !== null && #name in this ? this.#name : null;
      },
    });
  }

  private constructor(name: string, account: ReferencedAccount) {
    this.#name = name;
    this.#key = account.key;
    this.#request = { stream: null, account: this, terms: termsOf(account.key, 0) };
    references.set(this, account);
  }

  /**
   * The account with this name, which is made where there is none.
   *
   * @param name 1 to 1,024 bytes of UTF-8, without a zero.
   * @throws {MemoryError} `INVALID_ARG` for what can be no name; `UNAVAILABLE` where the process has
   * as many accounts as it can have.
   */
  static of(name: string): MemoryAccount {
    checkAccountName("MemoryAccount.of", "name", name);
    const known = accounts.get(name)?.deref();
    if (known !== undefined) return known;
    return MemoryAccount.#make(name, openReferencedAccount(name));
  }

  /** All accounts of the process. */
  static all(): MemoryAccount[] {
    return listAccounts().map((account) => {
      const name = accountName(account.key)!; // it is referenced
      return accounts.get(name)?.deref() ?? MemoryAccount.#make(name, account);
    });
  }

  static #make(name: string, account: ReferencedAccount): MemoryAccount {
    sweepAccounts();
    const made = new MemoryAccount(name, account);
    accounts.set(name, new WeakRef(made));
    return made;
  }

  /** The account's name. */
  get name(): string {
    return this.#name;
  }

  /**
   * Bytes that the account may have in live allocations, of all kinds of memory together. `Infinity`
   * at first. A limit below what is used refuses requests until enough is freed.
   */
  get limitByteSize(): number {
    return account_limit(this.#key);
  }

  /** @throws {MemoryError} `INVALID_ARG` for what is neither a whole number of bytes nor `Infinity`. */
  set limitByteSize(byteSize: number) {
    if (byteSize !== Infinity && !isWholeNumber(byteSize)) {
      const expected = "a whole number of bytes, or Infinity";
      throw invalidArgument("MemoryAccount", "limitByteSize", expected, byteSize);
    }
    checkStatus(account_set_limit(this.#key, byteSize));
  }

  /**
   * What the account has, and has had: of one kind of memory, or of all kinds together.
   *
   * @param memoryType The kind, as {@link AllocatedMemory.memoryType} has it. Requests that failed or
   * fell back are counted for the kind that they asked for.
   * @param memoryTypeId The GPU's CUDA ordinal; not looked at for host memory.
   * @throws {MemoryError} `INVALID_ARG` for what is no kind of memory, or no ordinal.
   */
  stats(memoryType?: MemoryType, memoryTypeId = 0): AccountStats {
    const stats = readAccountStats(this.#key, placeOfArguments(memoryType, memoryTypeId));
    return {
      usedByteSize: stats[at.used_byte_size]!,
      peakUsedByteSize: stats[at.peak_used_byte_size]!,
      allocationCount: stats[at.allocation_count]!,
      cumulativeAllocationCount: stats[at.cumulative_allocation_count]!,
      cumulativeByteSize: stats[at.cumulative_byte_size]!,
      failedAllocationCount: stats[at.failed_allocation_count]!,
      fallbackCount: stats[at.fallback_count]!,
    };
  }

  /** Makes what is used now the peak, of each kind of memory and of all together. */
  resetPeak(): void {
    account_reset_peak(this.#key);
  }
}

function placeOfArguments(memoryType: unknown, memoryTypeId: unknown): number {
  if (memoryType === undefined) return -1;
  const number = numberOfMemoryType(memoryType);
  if (number < 0) {
    throw invalidArgument("stats", "memoryType", '"CPU", "CPU_PINNED" or "GPU"', memoryType);
  }
  checkDeviceId("stats", memoryTypeId);
  return placeOf(number, memoryType === "GPU" ? (memoryTypeId as number) : 0);
}
