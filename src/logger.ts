import { invalidArgument } from "./arguments.ts";

/** Takes this package's messages. `console` is one. */
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
 * throws is caught.
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
    if (typeof logger?.[level] !== "function") {
      throw invalidArgument("setLogger", `logger.${level}`, "a function", logger?.[level]);
    }
  }
  current = logger;
}

/**
 * Catches what the logger throws, which must not fail an operation that only has something to say.
 */
function send(level: keyof Logger, message: string): void {
  try {
    current[level](message);
  } catch (error) {
    console.error(`the logger failed with ${String(error)} at: ${message}`);
  }
}

/** Sends messages to the logger in use. Never throws. */
export const log: Logger = {
  info: (message) => send("info", message),
  warn: (message) => send("warn", message),
  error: (message) => send("error", message),
};
