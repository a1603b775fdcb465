import type { RoundPlan } from "../round.ts";
import { allocate, allocateTooMuch, using, wait } from "./allocate.ts";
import { badArguments, fill, read, write } from "./bytes.ts";
import { copy, copyOnStream } from "./copy.ts";
import { delay, failCall, failOperation } from "./faults.ts";
import { collect, drop, free, freeOnStream } from "./free.ts";
import { create, reset } from "./managers.ts";
import type { Operation } from "./operation.ts";
import { attach, borrow, detach, lend } from "./pass-on.ts";
import { pointerAlloc, pointerFree, wrongPointer } from "./pointer.ts";
import { sabotage } from "./sabotage.ts";
import { statistics } from "./statistics.ts";
import { disposeStream, dropStream, finished, isDone, newStream, synchronize } from "./stream.ts";
import { readAsync, settle, writeAsync } from "./transfer.ts";
import { view, viewCheck, viewWrite } from "./view.ts";

/** Everything that a thread does in the middle of its life. */
const operations: readonly Operation[] = [
  allocate,
  allocateTooMuch,
  using,
  wait,
  free,
  freeOnStream,
  drop,
  collect,
  write,
  read,
  fill,
  badArguments,
  copy,
  copyOnStream,
  writeAsync,
  readAsync,
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
  pointerAlloc,
  pointerFree,
  wrongPointer,
  statistics,
  reset,
  create,
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
