import { Child, type Program } from "./child.ts";
import type { Message } from "./messages.ts";

/** The message of one kind. */
type OfKind<Answer extends Message, Kind extends Answer["kind"]> = Extract<Answer, { kind: Kind }>;

/**
 * A child that stays, and gives one message as the answer to each request. Requests are lines of
 * JSON on its stdin, which `requests()` reads there. Its log goes to this process's stderr.
 */
export class AskedChild<Request, Answer extends Message> implements Disposable {
  readonly #name: string;
  readonly #answerSecondsMax: number;
  readonly #child: Child<Answer>;
  /** Rejects when the child ends. */
  readonly #ended: Promise<never>;
  /** The messages that nobody has asked for yet. */
  readonly #received: Answer[] = [];
  #arrival = Promise.withResolvers<void>();

  /**
   * @param name Names the child in errors.
   * @param answerSecondsMax A child that has not answered by then never will.
   */
  constructor(name: string, program: Program, answerSecondsMax = Infinity) {
    this.#name = name;
    this.#answerSecondsMax = answerSecondsMax;
    const listener = {
      onMessage: (message: Answer) => {
        this.#received.push(message);
        this.#arrival.resolve();
      },
      onLog: (line: string) => console.error(line),
    };
    this.#child = new Child<Answer>(program, listener, "pipe");
    this.#ended = this.#child.ended.then((failure) => {
      throw new Error(`${name} ended: ${failure || "exit code 0"}`);
    });
    this.#ended.catch(() => {}); // whoever waits for an answer learns of it
  }

  /**
   * Sends a request and waits for its answer.
   *
   * @throws {Error} where the child ends, takes too long or answers something else.
   */
  async ask<Kind extends Answer["kind"]>(
    request: Request,
    kind: Kind,
  ): Promise<OfKind<Answer, Kind>> {
    this.#child.send(request);
    return await this.next(kind);
  }

  /**
   * Waits for the next message, which the child sends without being asked.
   *
   * @throws {Error} as {@link ask} does.
   */
  async next<Kind extends Answer["kind"]>(kind: Kind): Promise<OfKind<Answer, Kind>> {
    const tooLate = Promise.withResolvers<never>();
    const giveUp = () => tooLate.reject(new Error(`${this.#name} does not answer`));
    const isLimited = Number.isFinite(this.#answerSecondsMax);
    const timer = isLimited ? setTimeout(giveUp, this.#answerSecondsMax * 1000) : undefined;
    try {
      while (this.#received.length === 0) {
        await Promise.race([this.#arrival.promise, this.#ended, tooLate.promise]);
        this.#arrival = Promise.withResolvers();
      }
      const answer = this.#received.shift()!;
      if (answer.kind !== kind) {
        throw new Error(`${this.#name} answered "${answer.kind}", not "${kind}"`);
      }
      return answer as OfKind<Answer, Kind>;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Kills the child, which saves it from freeing millions of blocks one by one. */
  [Symbol.dispose](): void {
    this.#child.kill();
  }
}
