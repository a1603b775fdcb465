/** What kind of failure a {@link MemoryError} is; the codes of Triton's `TRITONSERVER_Error`. */
export type MemoryErrorCode =
  | "UNKNOWN"
  | "INTERNAL"
  | "NOT_FOUND"
  | "INVALID_ARG"
  | "UNAVAILABLE"
  | "UNSUPPORTED"
  | "ALREADY_EXISTS";

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
 *   if (error instanceof MemoryError && error.code === "INTERNAL") console.warn(error.message);
 * }
 * ```
 */
export class MemoryError extends Error {
  /** Always `"MemoryError"`. */
  override readonly name = "MemoryError";
  /** What kind of failure it is. */
  readonly code: MemoryErrorCode;

  /** For the package's own use, and for tests of what handles its errors. */
  constructor(code: MemoryErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
