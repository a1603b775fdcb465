import { basename } from "node:path";
import { Child, type Listener, type Program } from "./child.ts";
import type { Message } from "./messages.ts";

/** How a program ended, and what it said. */
export interface Ending<Received extends Message = Message> {
  /** `"exit code 1"`, `"SIGSEGV"`, `"no end in 60 s"`; `""` where it ended well. */
  failure: string;
  /** Its log, as a person would have seen it. */
  output: string;
  messages: Received[];
}

/** A program that is killed after a time, if it has one. */
export interface TimedProgram extends Program {
  timeoutSeconds?: number;
}

/** Runs a program to its end. */
export async function runProgram<Received extends Message = Message>(
  { timeoutSeconds, ...program }: TimedProgram,
  listener: Partial<Listener<Received>> = {},
): Promise<Ending<Received>> {
  const lines: string[] = [];
  const messages: Received[] = [];
  const child = new Child<Received>(program, {
    onMessage(message) {
      messages.push(message);
      listener.onMessage?.(message);
    },
    onLog(line) {
      lines.push(line);
      listener.onLog?.(line);
    },
  });
  let isTimedOut = false;
  const kill = () => {
    isTimedOut = true;
    child.kill();
  };
  const timer = timeoutSeconds === undefined ? undefined : setTimeout(kill, timeoutSeconds * 1000);
  const failure = await child.ended.finally(() => clearTimeout(timer));
  return {
    failure: isTimedOut ? `no end in ${timeoutSeconds} s` : failure,
    output: lines.join("\n"),
    messages,
  };
}

/**
 * Runs a program that has to end well.
 *
 * @param onMessage Is told each message as it comes.
 * @returns All messages.
 * @throws {Error} With the program's log, where it does not end well.
 */
export async function messagesOf<Received extends Message>(
  program: TimedProgram,
  onMessage: (message: Received) => void = () => {},
): Promise<Received[]> {
  const { failure, output, messages } = await runProgram<Received>(program, { onMessage });
  if (failure !== "") throw new Error(`${basename(program.argv[0]!)}: ${failure}\n${output}`);
  return messages;
}
