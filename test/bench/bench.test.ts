// That the whole benchmark runs, and refuses what makes no sense.

import { describe, expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { steps } from "../../bench/steps.ts";
import { isLimit } from "../../harness/run/findings.ts";
import type { Report } from "../../harness/run/report.ts";

const main = join(import.meta.dir, "../../bench/main.ts");

/** Runs the benchmark without a runtime chosen, as a user does. */
function bench(...argv: string[]) {
  const env = { ...process.env, BUN_CUDA_MEMORY_CUDART: "", CUDART_SIM_DEVICES: "" };
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, main, ...argv], { env });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

describe("the benchmark", () => {
  test("runs, prints tables and writes every round", async () => {
    const path = join(tmpdir(), `bench-${process.pid}.json`);
    const { exitCode, stdout, stderr } = bench("--quick", "--rounds", "2", "--json", path);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const report = (await Bun.file(path).json()) as Report;
    await Bun.file(path).delete();

    expect(report.formatVersion).toBe(2);
    expect(report.isQuick).toBe(true);
    expect(report.isPassed).toBe(true);
    expect(report.skipped).toEqual([]);
    expect(report.machine.bun).toBe(Bun.version);
    expect(Object.keys(report.data)).toEqual(steps.map(({ name }) => name));
    expect(Object.keys(report.data).length).toBeGreaterThanOrEqual(9);
    const limits = report.checks.filter(isLimit);
    expect(limits).toHaveLength(report.checks.length);
    expect(limits.length).toBeGreaterThan(10);
    for (const { name, limit, value, isKept } of limits) {
      expect([typeof name, typeof limit, typeof isKept]).toEqual(["string", "number", "boolean"]);
      expect(value === null || Number.isFinite(value)).toBe(true);
      expect(stdout).toContain(name);
    }
    const speed = report.figures.filter(({ step }) => step === "speed");
    for (const row of ["one 4 KiB block", "1,000 live", "10,000 live"]) {
      for (const contestant of ["pool", "locked", "empty"]) {
        const figure = speed.find((each) => each.row === row && each.contestant === contestant)!;
        expect(figure.unit).toBe("ns per pair");
        expect(figure.rounds).toHaveLength(2);
        for (const nanoseconds of figure.rounds) expect(nanoseconds).toBeGreaterThan(0);
      }
    }
    const counts = limits.filter(({ limit }) => limit === 0);
    expect(counts.map(({ name, value }) => [name, value])).toEqual([
      ["requests to the system heap in steady state", 0],
      ["requests not answered, or wrongly", 0],
      ["requests of the modest tenant refused", 0],
      ["bytes that came back wrong", 0],
      ["bytes left in the tenants' accounts", 0],
    ]);
    // Lines are as wide as a terminal, but for those of a path, which is as long as it is.
    const paths = [path, process.execPath];
    for (const line of stdout.split("\n")) {
      if (paths.some((each) => line.includes(each))) continue;
      expect(line.length).toBeLessThanOrEqual(100);
    }
  }, 60_000);

  test("refuses what it does not know, in a few lines", () => {
    const { exitCode, stdout, stderr } = bench("--only", "nothing");
    expect([exitCode, stdout]).toEqual([2, ""]);
    expect(stderr).toContain('there is no step "nothing"\nusage: bun bench/main.ts');
  });

  test("fails for logs that are not there", () => {
    const { exitCode, stderr } = bench("--quick", "--only", "packing", "--traces", "/absent");
    expect(exitCode).toBe(2);
    expect(stderr).toStartWith("bench failed: /absent: cannot be read");
  });
});
