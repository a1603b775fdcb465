/** Something that was measured. */
export interface Figure {
  kind: "figure";
  /** What was done: a row of the table. */
  row: string;
  /** Who did it. */
  contestant: string;
  unit: string;
  /** A figure for each round. */
  rounds: number[];
}

/** The figures of one measurement, which have the same unit, by row and contestant. */
export class Figures {
  readonly #unit: string;
  readonly #figures: Figure[] = [];

  constructor(unit: string) {
    this.#unit = unit;
  }

  /** All figures, in the order in which they were first added to. */
  get all(): readonly Figure[] {
    return this.#figures;
  }

  /** Adds the value of one more round. */
  add(row: string, contestant: string, value: number): void {
    const figure = this.#find(row, contestant);
    if (figure !== undefined) figure.rounds.push(value);
    else this.#figures.push({ kind: "figure", row, contestant, unit: this.#unit, rounds: [value] });
  }

  /** Returns the values of all rounds; none for what was not measured. */
  roundsOf(row: string, contestant: string): readonly number[] {
    return this.#find(row, contestant)?.rounds ?? [];
  }

  #find(row: string, contestant: string): Figure | undefined {
    return this.#figures.find((figure) => figure.row === row && figure.contestant === contestant);
  }
}
