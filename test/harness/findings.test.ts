import { describe, expect, test } from "bun:test";
import type { Message } from "../../harness/child/messages.ts";
import { broken, isFinding, kept, limitOf, verdictOf } from "../../harness/run/findings.ts";

describe("checks", () => {
  test("a limit that was not measured is not kept", () => {
    expect(limitOf("x", 1, 1).isKept).toBe(true);
    expect(limitOf("x", 1.01, 1).isKept).toBe(false);
    expect(limitOf("x", NaN, 1)).toMatchObject({ value: null, isKept: false });
  });

  test("have a verdict, which is worse for a broken guarantee than for a missed limit", () => {
    expect([kept("x", ""), broken("x", "")].map(verdictOf)).toEqual(["OK", "BROKEN"]);
    const limits = [1, 2, NaN].map((value) => limitOf("x", value, 1));
    expect(limits.map(verdictOf)).toEqual(["OK", "MISSED", "-"]);
  });

  test("are findings, as other messages of a child are not", () => {
    expect(isFinding(limitOf("x", 1, 1))).toBe(true);
    expect(isFinding({ kind: "machine" })).toBe(false);
  });

  test.each([
    { kind: "check", name: "x", isKept: "yes", detail: "" },
    { kind: "check", name: "x", isKept: true },
    { kind: "skipped", name: "x", reason: null },
    { kind: "figure", row: "x", contestant: "y", unit: "ns" },
    { kind: "figure", row: "x", contestant: "y", unit: "ns", rounds: {} },
    { kind: "constructor" },
    { kind: 5 },
  ])("are not findings where something is missing or wrong: %j", (message) => {
    expect(isFinding(message as Message)).toBe(false);
  });
});
