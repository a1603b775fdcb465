import { describe, expect, test } from "bun:test";
import { parseBenchOptions } from "../../bench/options.ts";

describe("the options of the benchmark", () => {
  const parse = (...argv: string[]) => parseBenchOptions(argv, ["speed", "packing"]);

  test("have defaults", () => {
    expect(parse()).toEqual({
      only: [],
      roundCount: undefined,
      tracesFolder: undefined,
      jsonPath: "build/bench.json",
      isStrict: false,
      isQuick: false,
    });
    expect(parse("--only", "packing", "--rounds", "7").roundCount).toBe(7);
  });

  test("are refused where they make no sense", () => {
    for (const argv of [["--only", "x"], ["--rounds", "0"], ["--rounds", "1.5"], ["x"]]) {
      expect(() => parse(...argv)).toThrow("usage: bun bench/main.ts");
    }
  });
});
