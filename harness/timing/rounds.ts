// A machine that does other things too is faster at times and slower at others. Every contestant
// therefore runs once in each round, a different one first each time, and two of them are compared
// within a round: what disturbed one has mostly disturbed the other as well.

/** Something that can be measured once more. */
export interface Contestant {
  name: string;
  /** Measures once. Returns the contestant's figure of a round. */
  measure(): number | Promise<number>;
}

/** Each contestant's figures by its name, a figure for each round. */
export type RoundFigures = Record<string, number[]>;

/** Returns the contestants in the order in which a round runs them. */
export function orderOfRound<Type>(contestants: readonly Type[], round: number): Type[] {
  const first = round % contestants.length;
  return [...contestants.slice(first), ...contestants.slice(0, first)];
}

/**
 * Measures every contestant once in each round.
 *
 * @param onRound Is told how many rounds are over, before each round and after the last.
 */
export async function runRounds(
  contestants: readonly Contestant[],
  roundCount: number,
  onRound: (doneCount: number) => void,
): Promise<RoundFigures> {
  const figures: RoundFigures = Object.fromEntries(contestants.map(({ name }) => [name, []]));
  for (let round = 0; round < roundCount; round++) {
    onRound(round);
    for (const contestant of orderOfRound(contestants, round)) {
      figures[contestant.name]!.push(await contestant.measure());
    }
  }
  onRound(roundCount);
  return figures;
}
