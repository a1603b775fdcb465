import { describe, expect, test } from "bun:test";
import { formatFigures, formatNote, formatNumber } from "../../harness/text/format.ts";

describe("figures", () => {
  test("are written in few digits", () => {
    expect([0, 0.123, 9.994, 9.996, 31.44, 99.96, 31415.9].map(formatNumber)).toEqual([
      "0",
      "0.12",
      "9.99",
      "10.0",
      "31.4",
      "100",
      "31,416",
    ]);
    expect(formatFigures([90, 100, 110])).toBe("100 ±8%");
    expect([formatFigures([]), formatFigures(undefined)]).toEqual(["-", "-"]);
    expect(formatNote("aa bb cc", 5)).toBe("  aa bb\n  cc");
  });
});
