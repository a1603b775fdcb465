/** An error whose message says everything: nobody needs to know where it was thrown. */
export class ExpectedError extends Error {
  override readonly name: string = "ExpectedError";
}

/** The program was not called properly. */
export class UsageError extends ExpectedError {
  override readonly name = "UsageError";
}
