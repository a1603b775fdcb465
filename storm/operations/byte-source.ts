import type { MemorySource } from "bun-cuda-memory";
import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import type { Random } from "../random.ts";

/** What a source of bytes throws that is to fail. */
export const failedOnPurpose = new Error("a source that fails on purpose");

const kinds = ["Blob", "Response", "Request", "stream", "stream", "byte stream", "body"] as const;

/** The most bytes of a chunk, as likely small as large. */
const chunkByteSizeMax = 1 << 19;

/** A source of bytes for `writeFrom`, of a kind that was drawn. */
export class ByteSource {
  readonly kind: (typeof kinds)[number];
  readonly source: MemorySource;
  /** Whether somebody has said that he wants no more. */
  isCancelled = false;
  /** Whether the source has ended by itself. */
  isOver = false;
  readonly #bytes: Uint8Array;
  readonly #random: Random;
  readonly #failsAt: number;
  readonly #isReusing: boolean;
  readonly #pauseShare: number;
  #buffer = new Uint8Array(0);
  #offset = 0;

  /**
   * @param bytes What it has.
   * @param fails Whether it fails in place of its last bytes.
   */
  constructor(random: Random, bytes: Uint8Array, fails: boolean) {
    this.#random = random;
    this.#bytes = bytes;
    this.#failsAt = fails ? random.below(bytes.byteLength) : Infinity;
    this.kind = fails ? random.pick(["stream", "byte stream", "body"]) : random.pick(kinds);
    this.#isReusing = random.chance(0.3) && this.kind !== "byte stream";
    this.#pauseShare = random.pick([0, 0.1, 0.5]);
    this.source = this.#newSource();
  }

  get text(): string {
    const { byteLength } = this.#bytes;
    return `${this.kind} of ${byteLength} bytes${this.#failsAt < Infinity ? ", which fails" : ""}`;
  }

  /** Whether it tells that it is cancelled. */
  get tellsOfCancel(): boolean {
    return this.kind === "stream" || this.kind === "byte stream";
  }

  #newSource(): MemorySource {
    const bytes = this.#bytes.slice();
    if (this.kind === "Blob") return new Blob([bytes]);
    if (this.kind === "Response") return new Response(bytes);
    if (this.kind === "Request") {
      return new Request("http://localhost/", { method: "POST", body: bytes });
    }
    return this.kind === "body" ? new Response(this.#newStream()) : this.#newStream();
  }

  #newStream(): ReadableStream<Uint8Array> {
    const source = {
      ...(this.kind === "byte stream" ? { type: "bytes" as const } : {}),
      pull: (controller: { enqueue(chunk: Uint8Array): void; close(): void }) =>
        this.#pull(controller),
      cancel: () => void (this.isCancelled = true),
    };
    // Nothing is made ahead of whoever reads.
    return new ReadableStream(source as unknown as Bun.UnderlyingSource, { highWaterMark: 0 });
  }

  async #pull(controller: { enqueue(chunk: Uint8Array): void; close(): void }): Promise<void> {
    if (this.#random.chance(this.#pauseShare)) await turnOfEventLoop();
    if (this.isCancelled) return;
    if (this.#offset >= this.#failsAt) {
      this.isOver = true;
      throw failedOnPurpose;
    }
    const rest = this.#bytes.byteLength - this.#offset;
    if (rest === 0) {
      this.isOver = true;
      return controller.close();
    }
    const byteSize = this.#random.byteSize(1, Math.min(rest, chunkByteSizeMax));
    const chunk = this.#newChunk(byteSize);
    chunk.set(this.#bytes.subarray(this.#offset, this.#offset + byteSize));
    this.#offset += byteSize;
    controller.enqueue(chunk);
  }

  /** Some sources have one buffer for all that they have, and write to it once more is wanted. */
  #newChunk(byteSize: number): Uint8Array {
    if (!this.#isReusing) return new Uint8Array(byteSize);
    if (this.#buffer.byteLength === 0) this.#buffer = new Uint8Array(chunkByteSizeMax);
    return this.#buffer.subarray(0, byteSize);
  }
}
