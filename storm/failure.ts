/** The package, or the storm itself, has not done what it has to. */
export class StormFailure extends Error {
  readonly expected: string;
  readonly seen: string;

  constructor(expected: string, seen: string) {
    super(`expected ${expected}; seen: ${seen}`);
    this.expected = expected;
    this.seen = seen;
  }
}

/** An error as one text, with its stack where it has one. */
export function textOfError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = "code" in error ? `[${String(error.code)}] ` : "";
  return `${code}${error.stack ?? error.message}`;
}
