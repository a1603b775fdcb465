/** Says on one line of the terminal what is going on. Silent where stderr is not a terminal. */
export class Progress {
  readonly #stream = process.stderr;
  #isDrawn = false;

  show(text: string): void {
    if (!this.#stream.isTTY) return;
    const width = (this.#stream.columns || 80) - 1;
    this.#stream.write(`\r\x1b[K${text.slice(0, width)}`);
    this.#isDrawn = true;
  }

  /** Shows with a bar how far a counted piece of work is. */
  showShare(text: string, done: number, total: number): void {
    const filled = Math.round((done / total) * 20);
    this.show(`[${"#".repeat(filled)}${".".repeat(20 - filled)}] ${text} ${done} of ${total}`);
  }

  clear(): void {
    if (this.#isDrawn) this.#stream.write("\r\x1b[K");
    this.#isDrawn = false;
  }
}
