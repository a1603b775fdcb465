// How a child process answers the process that started it: in messages, each of them a line of JSON
// on stdout that begins with its kind. Everything else that the child prints is its log. A message
// is written at once, so whatever was said before a crash or a hang has arrived.
//
// Programs in C and Python print the same lines, and flush stdout after each of them.

import { writeSync } from "node:fs";
import { linesOf } from "./lines.ts";

/** What every message has; the other members depend on the kind. */
export interface Message {
  kind: string;
}

/** The message in a line of a child's stdout, or `null` for a line of its log. */
export function parseMessage(line: string): Message | null {
  if (!line.startsWith('{"kind":')) return null;
  try {
    return JSON.parse(line) as Message;
  } catch {
    return null; // the child crashed in the middle of it
  }
}

/**
 * Called in a child: sends a message to its parent. The message has been written when this returns.
 * It must not be called while something is timed.
 */
export function tell<Sent extends Message>(message: Sent): void {
  const { kind, ...others } = message;
  let rest = Buffer.from(`${JSON.stringify({ kind, ...others })}\n`);
  while (rest.byteLength > 0) rest = rest.subarray(writeSync(1, rest));
}

/** Called in a child: its parent's requests, one after the other, until the parent has ended. */
export async function* requests<Request>(): AsyncGenerator<Request> {
  for await (const line of linesOf(Bun.stdin.stream())) yield JSON.parse(line) as Request;
}
