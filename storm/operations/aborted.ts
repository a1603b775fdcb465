import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import { StormFailure } from "../failure.ts";
import { checkBytes, Queue } from "../model.ts";
import type { Random } from "../random.ts";
import type { HeldStream, StormThread } from "../thread.ts";
import type { Operation } from "./operation.ts";
import { drawStream } from "./stream.ts";
import { drawTransfer, noteFailure, queueOf, type Transfer } from "./transfer.ts";

// Waits and transfers that a signal ends.

/** How something ends that may be aborted: by an error, which may be the reason, or by none. */
interface Ending {
  readonly error: unknown;
}

/** A signal that is aborted at a moment that was drawn. */
export class DrawnAbort {
  readonly #controller = new AbortController();
  readonly reason = new Error("given up on purpose");
  readonly moment: "before" | "at once" | "a turn later" | "later";
  readonly #milliseconds: number;

  constructor(random: Random) {
    this.moment = random.pick(["before", "at once", "a turn later", "later", "later"]);
    this.#milliseconds = random.between(1, 4);
  }

  get isBefore(): boolean {
    return this.moment === "before";
  }

  /**
   * Begins something with the signal, aborts that, and looks how it ends.
   *
   * @throws {StormFailure} Where it goes on for longer than the turn of the event loop that follows.
   */
  async endingOf(begin: (signal: AbortSignal) => Promise<unknown>): Promise<Ending> {
    if (this.isBefore) this.#controller.abort(this.reason);
    let ending: Ending | null = null;
    begin(this.#controller.signal).then(
      () => (ending = { error: null }),
      (error: unknown) => (ending = { error }),
    );
    if (this.moment === "a turn later") await turnOfEventLoop();
    if (this.moment === "later") await Bun.sleep(this.#milliseconds);
    this.#controller.abort(this.reason);
    await turnOfEventLoop();
    if (ending !== null) return ending;
    throw new StormFailure(
      "the signal's reason, as soon as it is aborted",
      "it is still under way",
    );
  }
}

/**
 * Notes that a transfer into memory has been given up: which of its bytes arrive is not defined. A GPU may
 * still be at it, and who has named no stream is not told when that is over.
 *
 * @param stream The one that tells, or `null`.
 */
export function leaveUnderWay(
  thread: StormThread,
  { held, range }: Pick<Transfer, "held" | "range">,
  stream: HeldStream | null,
): void {
  const rest = new Queue();
  rest.add({ ...range, model: held.model, isWrite: true });
  if (stream !== null && !thread.round.hasFaults) stream.queue.waitFor(rest);
}

function noteAbort(thread: StormThread, transfer: Transfer, queue: Queue, isWrite: boolean): void {
  const { held, stream } = transfer;
  held.isLeftInUse = true;
  if (isWrite) queue.fail();
  if (isWrite && held.isOnGpu) leaveUnderWay(thread, transfer, stream);
}

export const abortTransfer: Operation = {
  name: "abort-transfer",
  weight: 5,
  run: async (thread) => {
    const isWrite = thread.random.chance(0.6);
    const transfer = drawTransfer(thread, isWrite ? "writeAsync" : "readAsync");
    if (transfer === null) return;
    const { held, range, memory, byteOffset, stream, how } = transfer;
    const abort = new DrawnAbort(thread.random);
    const content = thread.newContent(range.end - range.begin);
    thread.begin(`${how}, aborted ${abort.moment}`);
    if (isWrite && held.isLent) return;
    const queue = queueOf(transfer);
    const target = new Uint8Array(content.bytes.byteLength);
    if (isWrite && !abort.isBefore) held.model.write(range.begin, content, queue);
    const wanted = isWrite ? content : held.model.read(range, queue);
    held.transferCount++;
    const { error } = await abort.endingOf((signal) => {
      const options = { signal, stream: stream?.stream };
      return isWrite
        ? memory.writeAsync(content.bytes, byteOffset, options)
        : memory.readAsync(target, byteOffset, options);
    });
    held.transferCount--;
    if (error === abort.reason) {
      if (!abort.isBefore) noteAbort(thread, transfer, queue, isWrite);
      thread.end("aborted");
    } else if (error !== null) {
      noteFailure(thread, transfer, queue, error);
    } else if (abort.isBefore) {
      throw new StormFailure("the reason of a signal that is aborted already", "no error");
    } else if (!isWrite && !queue.isInDoubt) {
      checkBytes(`what ${how} of ${held.name} has read`, target, wanted);
    }
    queue.finish();
    stream?.transfers.delete(queue);
    thread.end("done");
  },
};

/** A wait for a stream that is given up. The stream goes on, and its errors are for whoever asks next. */
export const abortFinished: Operation = {
  name: "abort-finished",
  weight: 2,
  run: async (thread) => {
    const drawn = drawStream(thread);
    if (drawn === null) return;
    const abort = new DrawnAbort(thread.random);
    thread.begin(`s${drawn.place}.finished(), aborted ${abort.moment}`);
    const { stream, queue } = drawn.stream;
    const lastUse = queue.lastUse;
    drawn.stream.finishedCount++;
    const { error } = await abort.endingOf((signal) => stream.finished({ signal }));
    drawn.stream.finishedCount--;
    if (error === abort.reason) return thread.end("aborted");
    if (abort.isBefore) {
      throw new StormFailure("the reason of a signal that is aborted already", String(error));
    }
    if (error !== null) {
      queue.fail();
      thread.checkError(thread.cudaCodes, [], error);
    } else if (lastUse !== undefined) {
      queue.finish(lastUse);
    }
    thread.end("done");
  },
};
