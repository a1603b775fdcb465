import { shorten } from "./format.ts";

/** One column of a table. */
export interface Column {
  title: string;
  width: number;
  align: "left" | "right";
}

/** Formats a line of a table. The cells have the order of the columns. */
export function tableLine(columns: readonly Column[], cells: readonly string[]): string {
  const padded = columns.map(({ width, align }, index) => {
    const cell = shorten(cells[index] ?? "", width);
    return align === "left" ? cell.padEnd(width) : cell.padStart(width);
  });
  return `  ${padded.join("  ")}`.trimEnd();
}

/** Formats the titles of a table, underlined. */
export function tableHead(columns: readonly Column[]): string {
  const titles = columns.map(({ title }) => title);
  const rules = columns.map(({ width }) => "-".repeat(width));
  return `${tableLine(columns, titles)}\n${tableLine(columns, rules)}`;
}
