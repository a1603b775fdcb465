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
 *   if (error instanceof MemoryError && error.code === "INTERNAL") useLess();
 * }
 * ```
 */
export class MemoryError extends Error {
  override readonly name = "MemoryError";
  readonly code: MemoryErrorCode;

  constructor(code: MemoryErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
