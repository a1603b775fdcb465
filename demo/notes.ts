import { setLogger } from "bun-cuda-memory";

const lineWidth = 96;

/**
 * What the package warns about, kept until there is a place for it: a line in the middle of a table
 * would spoil it.
 */
export class Notes {
  #lines: string[] = [];

  /** Collects the package's warnings and errors from now on. */
  collect(): void {
    setLogger({
      info() {},
      warn: (message) => this.#add("warning", message),
      error: (message) => this.#add("error", message),
    });
  }

  /** Prints what was collected since the last time. */
  print(): void {
    for (const line of this.#lines) console.log(line);
    this.#lines = [];
  }

  #add(label: string, whole: string): void {
    const message = whole.replace(/^bun-cuda-memory: /, "");
    const line = `  ${fallback(message) ?? `${label}: ${message}`}`;
    this.#lines.push(line.length > lineWidth ? `${line.slice(0, lineWidth - 1)}…` : line);
  }
}

/** Shortens a warning that is expected here. Returns undefined for any other message. */
function fallback(message: string): string | undefined {
  const match = /^failed to allocate ([^:]*): .*falling back to ([^(]*)/s.exec(message);
  return match === null ? undefined : `fallback: ${match[1]} -> ${match[2]!.trim()}`;
}
