// Numbers and sentences as a person reads them on a terminal.

import { summarize } from "../timing/statistics.ts";

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Formats a size, such as `"512 B"`, `"63.4 MiB"` or `"1.15 GiB"`. */
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

/** Formats a count with its noun, such as `"3 files"`. */
export function formatCount(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * Formats a number with three digits or more, such as `"3.14"`, `"31.4"` or `"31,415"`; also `"0"`.
 */
export function formatNumber(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (value === 0) return "0";
  const digits = Math.abs(value) >= 99.95 ? 0 : Math.abs(value) >= 9.995 ? 1 : 2;
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}

/** Formats the median and half the distance from p10 to p90: `"41.3 ±2%"`; `"-"` for no figures. */
export function formatFigures(figures: readonly number[] | undefined): string {
  if (figures === undefined || figures.length === 0) return "-";
  const { median, p10, p90 } = summarize(figures);
  return `${formatNumber(median)} ±${Math.round(((p90 - p10) / 2 / median) * 100)}%`;
}

/** Breaks text into lines of at most `width` characters, indented as tables are. */
export function formatNote(text: string, width = 92): string {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.map((line) => `  ${line}`).join("\n");
}

/** Shortens text to at most `width` characters, and marks the missing middle. */
export function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const end = Math.floor((width - 1) / 3);
  return `${text.slice(0, width - 1 - end)}…${end > 0 ? text.slice(-end) : ""}`;
}
