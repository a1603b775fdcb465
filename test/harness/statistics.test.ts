import { describe, expect, test } from "bun:test";
import { mean, median, percentile, ratios, summarize } from "../../harness/timing/statistics.ts";

describe("statistics", () => {
  test("percentiles lie between the values", () => {
    expect(percentile([4, 1, 3, 2, 5], 0)).toBe(1);
    expect(percentile([4, 1, 3, 2, 5], 1)).toBe(5);
    expect(percentile([4, 1, 3, 2, 5], 0.9)).toBeCloseTo(4.6);
    expect(percentile([10, 9], 0.25)).toBe(9.25);
    expect(percentile([], 0.5)).toBeNaN();
  });

  test("medians of even, odd and large numbers", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([100, 9])).toBe(54.5);
    expect(summarize(Array.from({ length: 11 }, (_, i) => i))).toEqual({
      median: 5,
      p10: 1,
      p90: 9,
    });
  });

  test("ratios are those of the same round", () => {
    expect(ratios([2, 9], [4, 3])).toEqual([0.5, 3]);
    expect(mean([1, 2, 6])).toBe(3);
  });
});
