// That the whole check on a GPU can fail: what it would find there is done to it on the simulator.

import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { GpuCheckReport } from "../../gpu-check/report.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";

const folder = join(import.meta.dir, "../../gpu-check");
const environment = {
  BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
  CUDART_SIM_DEVICES: "9.0:1073741824,8.0:1073741824",
};

function inTemporaryFolder<Result>(use: (path: string) => Result): Result {
  const path = mkdtempSync(join(tmpdir(), "gpu-check-"));
  try {
    return use(path);
  } finally {
    rmSync(path, { recursive: true });
  }
}

/** Runs the whole check; gives what it reported, if it did. */
function gpuCheck(options: readonly string[], variables: Record<string, string> = {}) {
  return inTemporaryFolder((path) => {
    const jsonPath = join(path, "report.json");
    const { exitCode, stdout, stderr } = Bun.spawnSync(
      [process.execPath, join(folder, "main.ts"), ...options, `--json=${jsonPath}`],
      { env: { ...process.env, ...environment, ...variables } },
    );
    const report = existsSync(jsonPath)
      ? (JSON.parse(readFileSync(jsonPath, "utf8")) as GpuCheckReport)
      : null;
    return { exitCode, stdout: stdout.toString(), stderr: stderr.toString(), report };
  });
}

describe("a broken guarantee", () => {
  test("ends the check, which says so in every way", () => {
    const { exitCode, stdout, report } = gpuCheck(["--rehearsal", "--quick", "--only=faults"], {
      CUDART_SIM_FAULTS: "cudaHostAlloc:1:2",
    });
    expect(exitCode).toBe(1);
    expect(report).toMatchObject({ isPassed: false, isRehearsal: true, isQuick: true });
    const broken = report!.checks.filter(({ isKept }) => !isKept);
    expect(broken.map(({ step }) => step)).toEqual(["faults"]);
    expect(stdout).toContain(`BROKEN: faults: ${broken[0]!.name}`);
    expect(report!.skipped.at(-1)).toMatchObject({
      step: "leftovers",
      reason: "a guarantee was broken before",
    });
  }, 60_000);

  test("is a simulator that nobody asked for", () => {
    const { exitCode, report } = gpuCheck(["--quick", "--only=state"]);
    expect(exitCode).toBe(1);
    expect(report!.checks.filter(({ isKept }) => !isKept)).toMatchObject([
      { name: "the CUDA runtime is a real one", detail: simulatorLibraryPath },
    ]);
    expect(report!.checks.filter(({ step }) => step === "state")).toEqual([]);
  }, 60_000);

  test("is a machine without a GPU", () => {
    const { exitCode, report } = gpuCheck(["--rehearsal", "--quick", "--only=state"], {
      CUDART_SIM_DEVICES: "none",
    });
    expect(exitCode).toBe(1);
    expect(report!.checks.at(-1)).toMatchObject({ step: "machine", isKept: false });
  }, 60_000);
});

test("a check that was not called properly says how", () => {
  const { exitCode, stderr, report } = gpuCheck(["--only=everything"]);
  expect([exitCode, report]).toEqual([2, null]);
  expect(stderr).toContain('there is no step "everything"\nusage: bun gpu-check/main.ts');
});
