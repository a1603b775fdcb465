import type { RoundPlan } from "../round.ts";
import { abortFinished, abortTransfer } from "./aborted.ts";
import { allocate, allocateTooMuch, using, wait } from "./allocate.ts";
import { streamDestroy, streamFrom, streamFromAgain, wrongStream } from "./borrowed-stream.ts";
import { badArguments, fill, read, write } from "./bytes.ts";
import { copy, copyOnStream, relay } from "./copy.ts";
import { delay, failCall, failOperation } from "./faults.ts";
import { collect, drop, free, freeInUse, freeOnStream } from "./free.ts";
import { gather } from "./gather.ts";
import { create, reset, resize, resizeWrongly } from "./managers.ts";
import type { Operation } from "./operation.ts";
import {
  copyWithin,
  partFree,
  partRead,
  partView,
  partWrite,
  subarray,
  wrongPart,
} from "./part.ts";
import { attach, borrow, detach, lend } from "./pass-on.ts";
import { pointerAlloc, pointerFree, wrongPointer } from "./pointer.ts";
import { cancelReadable, freeReadable, readable } from "./readable.ts";
import { sabotage } from "./sabotage.ts";
import { statistics } from "./statistics.ts";
import {
  disposeStream,
  dropStream,
  finished,
  isDone,
  newStream,
  synchronize,
  waitFor,
} from "./stream.ts";
import { readAsync, settle, writeAsync } from "./transfer.ts";
import { abortWriteFrom, writeFrom } from "./write-from.ts";
import { view, viewCheck, viewWrite } from "./view.ts";

/** Everything that a thread does in the middle of its life. */
const operations: readonly Operation[] = [
  allocate,
  allocateTooMuch,
  using,
  wait,
  free,
  freeOnStream,
  freeInUse,
  drop,
  collect,
  write,
  read,
  fill,
  badArguments,
  copy,
  copyOnStream,
  relay,
  gather,
  subarray,
  partRead,
  partWrite,
  partView,
  partFree,
  copyWithin,
  wrongPart,
  writeAsync,
  readAsync,
  abortTransfer,
  abortFinished,
  writeFrom,
  abortWriteFrom,
  readable,
  cancelReadable,
  freeReadable,
  settle,
  view,
  viewCheck,
  viewWrite,
  newStream,
  disposeStream,
  dropStream,
  synchronize,
  isDone,
  finished,
  waitFor,
  streamFrom,
  streamFromAgain,
  streamDestroy,
  wrongStream,
  pointerAlloc,
  pointerFree,
  wrongPointer,
  statistics,
  reset,
  create,
  resize,
  resizeWrongly,
  detach,
  attach,
  lend,
  borrow,
  failCall,
  failOperation,
  delay,
];

export const operationNames = operations.map(({ name }) => name);
export const sabotageNames = sabotage.map(({ name }) => name);

/** What may be done in a round. */
export function operationsOf(round: RoundPlan): readonly Operation[] {
  const chosen = operations.filter(({ name }) => !round.without.includes(name));
  const breaking = sabotage.filter(({ name }) => round.breaking.includes(name));
  return [...chosen, ...breaking].filter(({ isPossible }) => isPossible?.(round) ?? true);
}
