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
    const contestant = (name: string) => ({ name, measure: () => calls.push(name) });
    const rounds = await runRounds([contestant("a"), contestant("b")], 2, () => {});
    expect(calls.join("")).toBe("abba");
    expect(rounds).toEqual({ a: [1, 4], b: [2, 3] });
  });
});
