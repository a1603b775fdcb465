import { expect, test } from "bun:test";
import { steps } from "../../bench/steps.ts";
import { benchSteps, leftOutBenchSteps } from "../../gpu-check/steps/bench.ts";

test("the check on a GPU runs each step of the benchmark, or leaves it out by name", () => {
  const named = [...Object.keys(benchSteps), ...leftOutBenchSteps];
  expect(named.toSorted()).toEqual(steps.map(({ name }) => name).toSorted());
});
