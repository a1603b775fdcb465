import { MemoryError } from "bun-cuda-memory";
import { ProtocolError } from "./protocol/protocol-error.ts";

/** An answer other than success. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** There is no room now, and a client may ask again. */
export function busy(message: string): HttpError {
  return new HttpError(503, message, { "retry-after": "1" });
}

/** What a client is told of an error. What is nobody's fault but ours is logged too. */
export function httpErrorOf(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof ProtocolError) return new HttpError(error.status, error.message);
  console.error(error);
  if (error instanceof MemoryError && error.code === "DEVICE_LOST") {
    return new HttpError(503, "the GPU has failed"); // to ask again helps when there is another process
  }
  return new HttpError(500, "internal error");
}
