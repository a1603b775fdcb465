import { openAccount } from "../native/account.ts";
import { checkAccountName } from "./account-name.ts";
import { accountNameOf, type MemoryAccount, ownAccountKey } from "./memory-account.ts";

/** The keys of accounts that requests have named. One that has been forgotten is opened again. */
const keys = new Map<string, number>();
const keyCountMax = 4096;

/** An account as a request names it. */
export type AccountOption = MemoryAccount | string;

/**
 * The key of the account that a request names.
 *
 * @throws {MemoryError} `INVALID_ARG` for what is no account and can be no name; `UNAVAILABLE` where
 * there are as many accounts as there can be.
 */
export function accountKeyOf(operation: string, account: unknown): number {
  if (typeof account === "string") return keys.get(account) ?? openKey(operation, account);
  const key = ownAccountKey(account);
  if (key >= 0) return key;
  const name = accountNameOf(account) ?? account;
  return keys.get(name as string) ?? openKey(operation, name);
}

function openKey(operation: string, name: unknown): number {
  checkAccountName(operation, "account", name);
  if (keys.size >= keyCountMax) keys.clear();
  const key = openAccount(name);
  keys.set(name, key);
  return key;
}

/** The account's key, now that the one that there was has been forgotten. */
export function renewedAccountKey(operation: string, account: unknown): number {
  const name = accountNameOf(account) ?? account;
  keys.delete(name as string);
  return openKey(operation, name);
}
