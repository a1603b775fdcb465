/** An error whose message says everything: nobody needs to know where it was thrown. */
export class ExpectedError extends Error {
  override readonly name: string = "ExpectedError";
}

/** The program was not called properly. */
export class UsageError extends ExpectedError {
  override readonly name = "UsageError";
}

/**
 * Does what the arguments of the program ask for. An error of this class says that they were wrong.
 *
 * @throws {UsageError} in place of an error of the class.
 */
export async function blamingArguments<Result>(
  errorClass: abstract new (...parameters: never[]) => Error,
  action: () => Promise<Result>,
): Promise<Result> {
  try {
    return await action();
  } catch (error) {
    throw error instanceof errorClass ? new UsageError(error.message) : error;
  }
}
