/**
 * The kind of failure that a {@link MemoryError} is, as the codes of Triton's `TRITONSERVER_Error`.
 */
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
  /** The kind of failure. */
  readonly code: MemoryErrorCode;

  /** Only the package makes these errors, and tests of code that handles them. */
  constructor(code: MemoryErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
