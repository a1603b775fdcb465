import { describe, expect, test } from "bun:test";
import { CudartSimulator } from "../../src/simulator.ts";
import { runOn, spawnOn } from "./process.ts";

describe("the delay", () => {
  test("comes from the environment, and can be changed", () => {
    const result = runOn(
      { nsPerByte: "0.05", operationNs: "1500.25" },
      ({ CudartSimulator: simulator }) => {
        const first = simulator.delay();
        simulator.setDelay({ nsPerByte: 2 });
        const second = simulator.delay();
        simulator.setDelay({});
        return [first, second, simulator.delay()];
      },
    );
    expect(result).toEqual([
      { nsPerByte: 0.05, operationNs: 1500.25 },
      { nsPerByte: 2, operationNs: 0 },
      { nsPerByte: 0, operationNs: 0 },
    ]);
  });

  test.each([
    "-1",
    ".5",
    "1.",
    "1e3",
    "0x1",
    "1000000001",
    "99999999999999999999",
    " 1",
    "1 ",
    "0,5",
    "nan",
  ])("of a malformed environment: %p", (text) => {
    const variables = ["nsPerByte", "operationNs"] as const;
    const names = ["CUDART_SIM_NS_PER_BYTE", "CUDART_SIM_OPERATION_NS"];
    variables.forEach((variable, index) => {
      const { stdout, stderr } = spawnOn(
        { [variable]: text },
        ({ cuda }) => cuda.malloc(256).error,
      );
      expect(JSON.parse(stdout)).toBe(3);
      expect(stderr).toStartWith(`cudart_sim: ${names[index]}="${text}" is malformed: expected`);
      expect(stderr.trimEnd().split("\n")).toHaveLength(1);
    });
  });

  test.each([
    ["a negative time", { nsPerByte: -1 }, RangeError],
    ["too long a time", { operationNs: 1e9 + 1 }, RangeError],
    ["a time that is no number", { operationNs: Number.NaN }, RangeError],
    ["a time that is a string", { nsPerByte: "1" }, TypeError],
  ])("cannot be %s", (_, delay, errorType) => {
    const before = CudartSimulator.delay();
    expect(() => CudartSimulator.setDelay(delay as never)).toThrow(errorType);
    expect(CudartSimulator.delay()).toEqual(before);
  });
});
