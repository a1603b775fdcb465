import { Figures } from "./figures.ts";

// A machine that does other things too is faster at times and slower at others. Every contestant
// therefore runs once in each round, a different one first each time, and two of them are compared
// within a round: what disturbed one has mostly disturbed the other as well.

/** Something that can be measured once more. */
export interface Contestant {
  /** What it does: a row of the table. */
  row: string;
  name: string;
  /** Measures once. Returns the contestant's figure of a round. */
  measure(): number | Promise<number>;
}

/** Returns the contestants in the order in which a round runs them. */
export function orderOfRound<Type>(contestants: readonly Type[], round: number): Type[] {
  const first = round % contestants.length;
  return [...contestants.slice(first), ...contestants.slice(0, first)];
}

/**
 * Measures every contestant once in each round.
 *
 * @param unit The unit of what they measure.
 * @param onRound Is told how many rounds are over, before each round and after the last.
 */
export async function runRounds(
  contestants: readonly Contestant[],
  unit: string,
  roundCount: number,
  onRound: (doneCount: number) => void,
): Promise<Figures> {
  const figures = new Figures(unit);
  for (let round = 0; round < roundCount; round++) {
    onRound(round);
    for (const contestant of orderOfRound(contestants, round)) {
      figures.add(contestant.row, contestant.name, await contestant.measure());
    }
  }
  onRound(roundCount);
  return figures;
}
