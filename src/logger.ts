import { invalidArgument } from "./arguments.ts";

/** Where messages go; `console` fits. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
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
 * own. By default warnings and errors go to `console` and information nowhere.
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

export const log: Logger = {
  info: (message) => current.info(message),
  warn: (message) => current.warn(message),
  error: (message) => current.error(message),
};
