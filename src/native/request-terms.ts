// What a request is told to the native library with, besides a size, a place and a stream, in one number:
// how far it may fall, and four times the key of its account.

/** The terms of a request: of no account where the key is 0. */
export function termsOf(accountKey: number, fallback: number): number {
  return 4 * accountKey + fallback;
}

/** The key of the account, or 0. */
export function accountKeyOfTerms(terms: number): number {
  return Math.floor(terms / 4);
}

/** The same terms, of an account with another key. */
export function withAccountKey(terms: number, accountKey: number): number {
  return termsOf(accountKey, terms % 4);
}
