/** What the options of a kind begin with. An unknown one that does too was meant for this package. */
const prefixes: readonly string[] = ["--cuda-memory-pool-", "--pinned-memory-"];

/** As much of an argument as is compared. It is more than any option has. */
const optionLengthMax = 64;

/** The most letters that are missing, too many or wrong in an option that is recognised. */
const wrongLettersMax = 2;

/**
 * The option that was meant by a command-line argument which is none; `null` for an option that is
 * well spelled, and for what is nothing like one. Case and underscores are no difference.
 *
 * @param names The options, without their dashes.
 */
export function misspelledOption(argument: string, names: readonly string[]): string | null {
  const option = argument.split("=", 1)[0]!;
  if (!option.startsWith("-") || names.some((name) => option === `--${name}`)) return null;
  const normal = option.slice(0, optionLengthMax).toLowerCase().replaceAll("_", "-");
  const distances = names.map((name) => editDistance(normal, `--${name}`));
  const least = Math.min(...distances);
  const isMeant = least <= wrongLettersMax || prefixes.some((prefix) => normal.startsWith(prefix));
  return isMeant ? names[distances.indexOf(least)]! : null;
}

/** Levenshtein's distance: how many letters have to be added, taken away or replaced. */
function editDistance(text: string, other: string): number {
  let distances = Array.from({ length: other.length + 1 }, (_, length) => length);
  for (let i = 0; i < text.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < other.length; j++) {
      const replaced = distances[j]! + (text[i] === other[j] ? 0 : 1);
      next.push(Math.min(replaced, distances[j + 1]! + 1, next[j]! + 1));
    }
    distances = next;
  }
  return distances[other.length]!;
}
