import { summarize } from "./statistics.ts";

/** Three digits or more, such as `"3.14"`, `"31.4"`, `"314"` or `"31,415"`; also `"0"`. */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  const digits = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2;
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** The median and half the distance from p10 to p90: `"41.3 ±2%"`; `"-"` where nothing ran. */
export function formatFigures(figures: readonly number[] | undefined): string {
  if (figures === undefined || figures.length === 0) return "-";
  const { median, p10, p90 } = summarize(figures);
  return `${formatNumber(median)} ±${Math.round(((p90 - p10) / 2 / median) * 100)}%`;
}

/** Text in lines of at most `width` characters, indented as tables are. */
export function formatNote(text: string, width = 92): string {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.map((line) => `  ${line}`).join("\n");
}
