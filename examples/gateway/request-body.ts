import type { MutableMemory } from "bun-cuda-memory";
import { HttpError } from "./http-error.ts";

// The body of an inference request, of which nothing is read that nobody asks for: the JSON first,
// then the bytes of tensors, which stream into their memory.

/** What a client announces in the headers of its request. */
export interface AnnouncedSizes {
  byteSize: number;
  /** Bytes of the JSON at its beginning. */
  jsonByteSize: number;
}

/** The most of a body that is read whole; larger ones stream. */
const wholeByteSizeMax = 64 * 1024;
/** The most that is read and thrown away for a connection to be of further use. */
const discardedByteSizeMax = 1024 * 1024;

function sizeOf(name: string, text: string): number {
  const byteSize = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  if (Number.isNaN(byteSize)) throw new HttpError(400, `${name}: ${text.slice(0, 40)} is no size`);
  return byteSize;
}

/**
 * What a client announces, if that is acceptable. A body of unknown size (in HTTP chunks) could not
 * be checked against its tensors, nor have its memory before it comes, so that a Content-Length is
 * required: 411.
 */
export function announcedSizes(
  headers: Headers,
  limits: { byteSize: number; jsonByteSize: number },
): AnnouncedSizes {
  const encoding = headers.get("content-encoding") ?? "identity";
  if (encoding !== "identity") {
    throw new HttpError(415, "compressed bodies are not supported", {
      "accept-encoding": "identity",
    });
  }
  const length = headers.get("content-length");
  if (length === null) throw new HttpError(411, "a request must have a Content-Length");
  const byteSize = sizeOf("Content-Length", length);
  if (byteSize > limits.byteSize) {
    throw new HttpError(413, `${byteSize} bytes are more than the ${limits.byteSize} of a request`);
  }
  const jsonLengthName = "Inference-Header-Content-Length";
  const jsonLength = headers.get(jsonLengthName);
  const jsonByteSize = jsonLength === null ? byteSize : sizeOf(jsonLengthName, jsonLength);
  if (jsonByteSize > byteSize) {
    throw new HttpError(400, `${jsonLengthName} is more than Content-Length`);
  }
  if (jsonByteSize > limits.jsonByteSize) {
    throw new HttpError(
      413,
      `${jsonByteSize} bytes of JSON are more than ${limits.jsonByteSize}; send binary data`,
    );
  }
  return { byteSize, jsonByteSize };
}

/** Where a body ends before what was announced; nobody is there to read the answer. */
function cutOff(): HttpError {
  return new HttpError(400, "the body ends before its Content-Length");
}

/** The body of one request, to be read once from its beginning to its end. */
export class RequestBody {
  readonly #request: Request;
  readonly #sizes: AnnouncedSizes;
  /** Bytes that were read behind the JSON. */
  #ahead: Uint8Array = new Uint8Array();

  constructor(request: Request, sizes: AnnouncedSizes) {
    this.#request = request;
    this.#sizes = sizes;
  }

  /** Bytes behind the JSON. */
  get binaryByteSize(): number {
    return this.#sizes.byteSize - this.#sizes.jsonByteSize;
  }

  /** The JSON. */
  async json(): Promise<Uint8Array> {
    const { byteSize, jsonByteSize } = this.#sizes;
    const isWhole = byteSize <= wholeByteSizeMax;
    const bytes = isWhole ? await this.#request.bytes() : await this.#readAtLeast(jsonByteSize);
    if (bytes.byteLength < (isWhole ? byteSize : jsonByteSize)) throw cutOff();
    this.#ahead = bytes.subarray(jsonByteSize);
    return bytes.subarray(0, jsonByteSize);
  }

  async #readAtLeast(byteSize: number): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    let readByteSize = 0;
    const reader = this.#request.body!.getReader();
    while (readByteSize < byteSize) {
      const { value, done } = await reader.read();
      if (done) break;
      chunks.push(value);
      readByteSize += value.byteLength;
    }
    reader.releaseLock();
    return Buffer.concat(chunks);
  }

  /** Brings what is behind the JSON to the beginning of a memory. */
  async writeTo(memory: MutableMemory, signal: AbortSignal): Promise<void> {
    const ahead = this.#ahead;
    await memory.writeAsync(ahead);
    let byteSize = ahead.byteLength;
    if (byteSize < this.binaryByteSize) {
      byteSize += await memory.writeFrom(this.#request.body!, { byteOffset: byteSize, signal });
    }
    if (byteSize < this.binaryByteSize) throw cutOff();
  }
}

/**
 * Reads what is left of the body of a request that is refused, if it is little, since many clients
 * listen only once they have sent all. Returns whether the connection is of further use.
 */
export async function discardBody(request: Request): Promise<boolean> {
  const byteSize = Number(request.headers.get("content-length") ?? Infinity);
  if (request.body === null) return true;
  if (request.bodyUsed || byteSize > discardedByteSizeMax) return false;
  try {
    for await (const _chunk of request.body);
    return true;
  } catch {
    return false;
  }
}
