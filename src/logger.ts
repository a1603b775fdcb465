import { invalidArgument } from "./arguments.ts";

/** Where messages go; `console` fits. */
export interface Logger {
  /** What has been reserved, and which CUDA runtime is used. */
  info(message: string): void;
  /** What was asked for and is not to be had, such as GPU memory, where something else serves. */
  warn(message: string): void;
  /** What is not to be had at all. */
  error(message: string): void;
}

/** The logger in use. Until {@link setLogger} is called: `console`, without the information. */
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

/** A logger that throws must not break what only wanted to say something. */
function send(level: keyof Logger, message: string): void {
  try {
    current[level](message);
  } catch (error) {
    console.error(`the logger failed with ${String(error)} at: ${message}`);
  }
}

export const log: Logger = {
  info: (message) => send("info", message),
  warn: (message) => send("warn", message),
  error: (message) => send("error", message),
};
