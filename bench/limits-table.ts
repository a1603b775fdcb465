import { type Check, isLimit, verdictOf } from "../harness/run/findings.ts";
import { formatNumber } from "../harness/text/format.ts";
import { type Column, tableHead, tableLine } from "../harness/text/table.ts";

const columns: readonly Column[] = [
  { title: "limit", width: 60, align: "left" },
  { title: "measured", width: 11, align: "right" },
  { title: "at most", width: 11, align: "right" },
  { title: "verdict", width: 7, align: "left" },
];

/** Every limit on a figure, with what was measured and whether it is kept. */
export function limitsTable(checks: readonly Check[]): string {
  const lines = checks.filter(isLimit).map((check) => {
    const { name, value, limit, unit } = check;
    const withUnit = (number: number) =>
      unit === "" ? number.toFixed(3) : `${formatNumber(number)} ${unit}`;
    const measured = value === null ? "-" : withUnit(value);
    return tableLine(columns, [name, measured, withUnit(limit), verdictOf(check)]);
  });
  return [tableHead(columns), ...lines].join("\n");
}
