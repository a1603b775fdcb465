import { ExpectedError, UsageError } from "./errors.ts";

/**
 * Runs the main function of a program with the program's arguments. What it throws is printed to
 * stderr and makes the exit code 1, or 2 for a {@link UsageError}.
 *
 * @param name Names the program in the line of an error.
 */
export async function runMain(
  name: string,
  main: (argv: string[]) => Promise<void>,
): Promise<void> {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error(`${name} failed:`, error instanceof ExpectedError ? error.message : error);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
