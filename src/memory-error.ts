/**
 * The kind of failure that a {@link MemoryError} is: the codes of Triton's `TRITONSERVER_Error`, and
 * three that say what to do.
 *
 * - `"OUT_OF_MEMORY"`: a pool cannot serve the request, now or ever. Free something, ask for less, or
 *   ask again later.
 * - `"OUT_OF_RANGE"`: a stream of bytes had more than fit.
 * - `"DEVICE_LOST"`: CUDA has failed for good in this process. Start another.
 */
export type MemoryErrorCode =
  | "UNKNOWN"
  | "INTERNAL"
  | "NOT_FOUND"
  | "INVALID_ARG"
  | "UNAVAILABLE"
  | "UNSUPPORTED"
  | "ALREADY_EXISTS"
  | "OUT_OF_MEMORY"
  | "OUT_OF_RANGE"
  | "DEVICE_LOST";

/** The figures of a {@link MemoryError}, each where it belongs to the failure. */
export interface MemoryErrorFigures {
  /** See {@link MemoryError.cudaError}. */
  readonly cudaError?: number | undefined;
  /** Bytes; see {@link MemoryError.requestedByteSize}. */
  readonly requestedByteSize?: number | undefined;
  /** Bytes; see {@link MemoryError.freeByteSize}. */
  readonly freeByteSize?: number | undefined;
  /** Bytes; see {@link MemoryError.largestFreeByteSize}. */
  readonly largestFreeByteSize?: number | undefined;
}

/**
 * The one error that this package throws. The message names the operation, the bytes and the
 * device; for a full pool also its free bytes and its largest free block; for a failed CUDA call
 * the call, and the error's name and text.
 *
 * @example
 * ```ts
 * try {
 *   CudaMemoryManager.alloc(1 << 30, 0);
 * } catch (error) {
 *   if (!(error instanceof MemoryError) || error.code !== "OUT_OF_MEMORY") throw error;
 *   console.warn(`${error.freeByteSize} bytes are free, in pieces that are too small`);
 * }
 * ```
 */
export class MemoryError extends Error {
  /** Always `"MemoryError"`. */
  override readonly name = "MemoryError";
  /** The kind of failure. */
  readonly code: MemoryErrorCode;
  /** The number of the CUDA error (a `cudaError_t`), where CUDA failed. */
  declare readonly cudaError?: number;
  /** The bytes that were asked for, where the code is `"OUT_OF_MEMORY"`. */
  declare readonly requestedByteSize?: number;
  /** The bytes that the pool had free in all at that moment, where a pool refused. */
  declare readonly freeByteSize?: number;
  /** The largest request that the pool could have served at that moment, where a pool refused. */
  declare readonly largestFreeByteSize?: number;

  /** Only the package makes these errors, and tests of code that handles them. */
  constructor(code: MemoryErrorCode, message: string, figures: MemoryErrorFigures = {}) {
    super(message);
    this.code = code;
    for (const name of figureNames) {
      if (figures[name] === undefined) continue;
      Object.defineProperty(this, name, { value: figures[name], enumerable: true });
    }
  }

  /** The same error with more to say. */
  withMessage(message: string): MemoryError {
    return new MemoryError(this.code, message, this);
  }
}

const figureNames = [
  "cudaError",
  "requestedByteSize",
  "freeByteSize",
  "largestFreeByteSize",
] as const satisfies (keyof MemoryErrorFigures)[];
