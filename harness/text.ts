// Text for a terminal.

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Such as `"512 B"`, `"63.4 MiB"` or `"1.15 GiB"`. */
export function formatByteSize(byteSize: number): string {
  let value = byteSize;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const decimals = unit === 0 ? 0 : value < 10 ? 2 : 1;
  return `${value.toFixed(decimals)} ${units[unit]}`;
}

/** Such as `"3 files"`. */
export function formatCount(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** At most `width` characters, the missing middle marked. */
export function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const end = Math.floor((width - 1) / 3);
  return `${text.slice(0, width - 1 - end)}…${end > 0 ? text.slice(-end) : ""}`;
}

/** One column of a table. */
export interface Column {
  title: string;
  width: number;
  align: "left" | "right";
}

/** A line of a table, its cells in the order of the columns. */
export function tableLine(columns: readonly Column[], cells: readonly string[]): string {
  const padded = columns.map(({ width, align }, index) => {
    const cell = shorten(cells[index] ?? "", width);
    return align === "left" ? cell.padEnd(width) : cell.padStart(width);
  });
  return `  ${padded.join("  ")}`.trimEnd();
}

/** The titles of a table, underlined. */
export function tableHead(columns: readonly Column[]): string {
  const titles = columns.map(({ title }) => title);
  const rules = columns.map(({ width }) => "-".repeat(width));
  return `${tableLine(columns, titles)}\n${tableLine(columns, rules)}`;
}
