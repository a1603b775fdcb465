import { invalidArgument } from "./arguments.ts";
import { describeThrown } from "./describe.ts";
import {
  hasSubscribers,
  type MemoryMessage,
  publish,
  type StateMessage,
} from "./message-channel.ts";

/**
 * Takes this package's messages, which begin with `bun-cuda-memory: `. `console` is one. For machines
 * there is {@link MemoryMessage}.
 */
export interface Logger {
  /** Says what has been reserved, and which CUDA runtime is used. */
  info(message: string): void;
  /** Says that something cannot be had, such as GPU memory, and that something else serves. */
  warn(message: string): void;
  /** Says that something cannot be had at all. */
  error(message: string): void;
}

/**
 * The logger in use, which is `console` without the information until {@link setLogger} is called.
 */
let current: Logger = {
  info() {},
  warn: (message) => console.warn(message),
  error: (message) => console.error(message),
};

/**
 * Sends this package's messages to a logger of yours, in the calling thread: each Worker sets its
 * own. By default warnings and errors go to `console` and information nowhere. What the logger
 * throws is caught, and so is what it rejects with where it is asynchronous: both are shown on
 * `console.error`, with the message. What the logger makes this package say in turn goes to
 * `console`.
 *
 * @throws {MemoryError} `INVALID_ARG` where `info`, `warn` or `error` is not a function.
 *
 * @example
 * ```ts
 * setLogger(console);
 * ```
 */
export function setLogger(logger: Logger): void {
  for (const level of ["info", "warn", "error"] as const) {
    const method = methodOf(logger, level);
    if (typeof method !== "function") {
      throw invalidArgument("setLogger", `logger.${level}`, "a function", method);
    }
  }
  current = logger;
}

/** A method of what may be no logger, or one that cannot be read. */
function methodOf(logger: Logger | null | undefined, level: keyof Logger): unknown {
  try {
    return logger?.[level];
  } catch {
    return undefined;
  }
}

const prefix = "bun-cuda-memory: ";

/** Whether the logger is being called, by which this package may come to have more to say. */
let isSending = false;

function sendToLogger(level: keyof Logger, message: string): void {
  const wasSending = isSending;
  const logger = wasSending ? console : current;
  isSending = true;
  try {
    const result: unknown = logger[level](message);
    // Nobody else waits for it, and a rejection that nobody handles ends the process.
    if (typeof result === "object" && result !== null) {
      new Promise((resolve) => resolve(result)).catch((error) => reportFailure(error, message));
    }
  } catch (error) {
    reportFailure(error, message);
  } finally {
    isSending = wasSending;
  }
}

/** Shows what a logger threw, which must not fail an operation that only has something to say. */
function reportFailure(thrown: unknown, message: string): void {
  try {
    console.error(`${prefix}the logger failed with ${describeThrown(thrown)} at: ${message}`);
  } catch {} // the console is the program's own too, and there is nothing else to say it with
}

type WithoutText<Message> = Message extends unknown ? Omit<Message, "level" | "message"> : never;

/** What a message is about, for machines: all that it has but its text, or only its event. */
type Subject = WithoutText<MemoryMessage> | StateMessage["event"];

function sendToChannel(level: keyof Logger, subject: Subject, message: string): void {
  if (!hasSubscribers()) return;
  publish({ ...(typeof subject === "string" ? { event: subject } : subject), level, message });
}

function send(level: keyof Logger, subject: Subject, text: string): void {
  const message = prefix + text;
  sendToLogger(level, message);
  sendToChannel(level, subject, message);
}

/** Sends messages to the logger in use, and to the channel. Never throws. */
export const log = {
  info: (subject: Subject, text: string) => send("info", subject, text),
  warn: (subject: Subject, text: string) => send("warn", subject, text),
  error: (subject: Subject, text: string) => send("error", subject, text),
};

/**
 * Warns of what is one message to the channel: the log has a line for each text that is new to it,
 * which may be none. Never throws.
 */
export function warnOnce(subject: Subject, newTexts: readonly string[], text: string): void {
  for (const newText of newTexts) sendToLogger("warn", prefix + newText);
  sendToChannel("warn", subject, prefix + text);
}
