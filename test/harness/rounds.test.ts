import { describe, expect, test } from "bun:test";
import { orderOfRound, runRounds } from "../../harness/timing/rounds.ts";

describe("rounds", () => {
  test("begin with another contestant each time", async () => {
    expect([0, 1, 2, 3].map((round) => orderOfRound(["a", "b", "c"], round).join(""))).toEqual([
      "abc",
      "bca",
      "cab",
      "abc",
    ]);
    const calls: string[] = [];
    const contestant = (name: string) => ({ row: "r", name, measure: () => calls.push(name) });
    const figures = await runRounds([contestant("a"), contestant("b")], "ns", 2, () => {});
    expect(calls.join("")).toBe("abba");
    expect(figures.all).toEqual([
      { kind: "figure", row: "r", contestant: "a", unit: "ns", rounds: [1, 4] },
      { kind: "figure", row: "r", contestant: "b", unit: "ns", rounds: [2, 3] },
    ]);
    expect(figures.roundsOf("r", "b")).toEqual([2, 3]);
    expect(figures.roundsOf("r", "c")).toEqual([]);
  });
});
