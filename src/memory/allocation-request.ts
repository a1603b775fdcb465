import { checkSignal } from "../abort-signal.ts";
import { type AccountOption, accountKeyOf, renewedAccountKey } from "../accounts/account-key.ts";
import { checkByteSize, checkDeviceId, checkOptions, invalidArgument } from "../arguments.ts";
import { type AllocationRequest, requestForOwn } from "../accounts/memory-account.ts";
import { termsOf, withAccountKey } from "../native/request-terms.ts";
import { type CudaStream, streamStateOf } from "../streams/cuda-stream.ts";
import { fallbackNumberOf, type MemoryFallback } from "./memory-fallback.ts";
import { numberOfMemoryType } from "../native/memory-type.ts";

/** Options of {@link AllocatedMemory}'s constructor. */
export interface AllocatedMemoryOptions {
  /**
   * The stream that the memory will be used on, and no other before {@link CudaStream.finished}.
   * The request may then have memory at once that was freed with that stream, or with another one
   * that this stream is made to wait for.
   */
  stream?: CudaStream | undefined;
  /** Whom the memory is for, or his account's name. A request over its limit throws. */
  account?: AccountOption | undefined;
  /**
   * How far the request may fall. Where it may not fall as far as it would have to, it throws and
   * touches no other memory. Default: what {@link createMemoryManagers} was told, else `"system"`.
   * Non-pinned memory is what a request for `"CPU"` asks for, and no fallback.
   */
  fallback?: MemoryFallback | undefined;
}

/** Options of {@link AllocatedMemory.allocate}. */
export interface AllocateOptions extends AllocatedMemoryOptions {
  /** Ends the wait: the promise is rejected with the signal's reason, and nothing is held. */
  signal?: AbortSignal | undefined;
}

const names = ["stream", "account", "fallback"] as const;

/**
 * What the options ask for, in an object that the next call may use again.
 *
 * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be.
 */
export function requestOf(
  operation: string,
  options: AllocatedMemoryOptions,
): Readonly<AllocationRequest> {
  return requestOfAccountAlone(options) ?? requestOfAny(operation, options);
}

// Whether there are other options than those of a request is asked by `for in`: `Object.keys` takes 5 ns
// longer in a program that also makes requests without options, though nothing where all requests have some.

/** The same for `{ account }`, an object of this copy of the package; `null` for all other options. */
function requestOfAccountAlone(
  options: AllocatedMemoryOptions,
): Readonly<AllocationRequest> | null {
  try {
    const { stream, account, fallback } = options;
    const isAlone = stream === undefined && fallback === undefined;
    if (!isAlone || typeof account !== "object" || !isPlain(options)) return null;
    for (const name in options) if (name !== "account") return null;
    return requestForOwn(account);
  } catch {
    return null; // looked at closer: a Proxy or a getter may have thrown
  }
}

function requestOfAny(operation: string, options: AllocatedMemoryOptions): AllocationRequest {
  try {
    const { stream, account, fallback } = options;
    if (isPlain(options) && hasNoOther(options)) {
      return checkedRequest(operation, stream, account, fallback);
    }
  } catch {} // as above
  const { stream, account, fallback } = checkOptions(operation, options, names);
  return checkedRequest(operation, stream, account, fallback);
}

function isPlain(options: object): boolean {
  return Object.getPrototypeOf(options) === Object.prototype;
}

function hasNoOther(options: AllocatedMemoryOptions): boolean {
  for (const name in options) {
    if (name !== "account" && name !== "stream" && name !== "fallback") return false;
  }
  return true;
}

function checkedRequest(
  operation: string,
  stream: CudaStream | undefined,
  account: AccountOption | undefined,
  fallback: MemoryFallback | undefined,
): AllocationRequest {
  const native = stream === undefined ? null : streamStateOf(operation, stream).native;
  const accountKey = account === undefined ? 0 : accountKeyOf(operation, account);
  const policy = fallback === undefined ? 0 : fallbackNumberOf(operation, fallback);
  latest.stream = native;
  latest.account = account;
  latest.terms = termsOf(accountKey, policy);
  return latest;
}

/** The request that was read last. To make an object for each would take a third of the time. */
const latest: AllocationRequest = { stream: null, account: undefined, terms: 0 };

const waitingNames = [...names, "signal"] as const;

/**
 * What the options of a request that may wait ask for: `fallback` is `"none"` by default.
 *
 * @throws {MemoryError} `INVALID_ARG` for options that are not what they have to be.
 */
export function waitingRequestOf(operation: string, options: AllocateOptions | undefined) {
  const { signal, fallback = "none", ...others } = checkOptions(operation, options, waitingNames);
  checkSignal(operation, signal);
  const own: AllocatedMemoryOptions = { fallback, ...others };
  return { request: { ...requestOf(operation, own) }, options: own, signal };
}

/** The name of the account that a request names. */
export function accountNameOfRequest(
  request: Readonly<AllocationRequest> | null,
): string | undefined {
  const account = request?.account;
  return typeof account === "string" ? account : account?.name;
}

/** Opens the account again, because it was forgotten since the request named it. */
export function renewAccount(operation: string, request: AllocationRequest): void {
  const accountKey = renewedAccountKey(operation, request.account);
  request.terms = withAccountKey(request.terms, accountKey);
}

/** @throws {MemoryError} `INVALID_ARG` for the first argument that is not what it has to be. */
export function checkAllocationArguments(
  operation: string,
  byteSize: unknown,
  memoryType: unknown,
  memoryTypeId: unknown,
): void {
  checkByteSize(operation, "byteSize", byteSize);
  if (numberOfMemoryType(memoryType) < 0) {
    throw invalidArgument(operation, "memoryType", '"CPU", "CPU_PINNED" or "GPU"', memoryType);
  }
  checkDeviceId(operation, memoryTypeId);
}
