// That the check on a GPU can fail: what it would find there is done to it on the simulator.

import type { FFIFunction } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseJunit } from "../../gpu-check/steps/behaviour.ts";
import { runProgram } from "../../gpu-check/child.ts";
import { checkSymbols, realSymbols } from "../../gpu-check/cuda-symbols.ts";
import type { Check, Finding } from "../../gpu-check/findings.ts";
import { namedGpuAt } from "../../gpu-check/steps/machine/nvidia-smi.ts";
import type { Report } from "../../gpu-check/report.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { tableCheckSource } from "../abi/table-check.ts";
import { checkCxx, cudaIncludeFolder, cxxCompiler } from "../abi/toolkit.ts";

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
      ? (JSON.parse(readFileSync(jsonPath, "utf8")) as Report)
      : null;
    return { exitCode, stdout: stdout.toString(), stderr: stderr.toString(), report };
  });
}

describe("a broken promise", () => {
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
      reason: "a promise was broken before",
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

/** What a process found in which `body` was checked. */
function checked(body: string): { exitCode: number; check: Check } {
  const program = `
    import { check } from ${JSON.stringify(join(folder, "steps/guarantees/check.ts"))};
    import * as cuda from ${JSON.stringify(join(folder, "cuda.ts"))};
    await check("something", () => { ${body}; return "seen"; });
  `;
  const { exitCode, stdout } = Bun.spawnSync([process.execPath, "-e", program], {
    env: { ...process.env, ...environment },
  });
  return { exitCode, check: JSON.parse(stdout.toString()) as Check };
}

describe("a promise is broken where something is left behind:", () => {
  test("nothing", () => {
    const { exitCode, check } = checked("");
    expect(exitCode).toBe(0);
    expect(check).toMatchObject({
      isKept: true,
      detail: "seen; free memory changed by 0 bytes",
    });
  });

  test.each([
    [
      "memory",
      "cuda.runtime.cudaMalloc(new BigUint64Array(new ArrayBuffer(8)), 64 * 1024 ** 2)",
      "free memory of GPU 0 changed by -67108864 bytes",
    ],
    ["another current GPU", "cuda.makeCurrent(1)", "another GPU is current than before"],
    ["an error", "cuda.runtime.cudaSetDevice(-1)", "a CUDA error was left behind: 101"],
    ["an exception", "throw new Error('out of ink')", "out of ink"],
  ])("%s", (_, body, detail) => {
    const { exitCode, check } = checked(body);
    expect(exitCode).toBe(1);
    expect(check).toMatchObject({ isKept: false, detail: expect.stringContaining(detail) });
  });
});

describe("a program that the check runs", () => {
  /** Runs a shell script; gives what was found and how it ended. */
  async function run(script: string, timeoutSeconds: number) {
    const path = mkdtempSync(join(tmpdir(), "gpu-check-"));
    try {
      const findings: Finding[] = [];
      const ending = await runProgram(
        { argv: ["sh", "-c", script], timeoutSeconds },
        { onFinding: (finding) => void findings.push(finding), logPath: join(path, "log") },
      );
      return { ...ending, findings };
    } finally {
      rmSync(path, { recursive: true });
    }
  }

  /**
   * Waits until a process has ended; only the test's time limit ends the wait for one that was not
   * killed. A killed process closes its output a moment before the system says that it has ended,
   * and stays a zombie (Z) until whoever is its parent now takes note.
   */
  async function ended(pid: number): Promise<void> {
    expect(pid).toBeGreaterThan(0);
    for (;;) {
      const state = await Bun.file(`/proc/${pid}/stat`)
        .text()
        .catch(() => "gone");
      if (state === "gone" || / [ZX] /.test(state)) return;
      await Bun.sleep(1);
    }
  }

  const finding: Finding = { kind: "skipped", name: "a", reason: "b" };
  const printed = `echo '${JSON.stringify(finding)}'`;

  test("is heard until it crashes", async () => {
    const { failure, output, answer, findings } = await run(
      `echo c; sleep 0.01; ${printed}; echo d >&2; kill -SEGV $$`,
      10,
    );
    expect(failure).toBe("SIGSEGV");
    expect([output, answer]).toEqual(["c\nd", "c"]);
    expect(findings).toEqual([finding]);
  });

  test("is killed when it hangs, with what it started", async () => {
    const { failure, output, findings } = await run(`${printed}; sleep 100 & echo $!; wait`, 0.3);
    expect(failure).toBe("no end in 0.3 s");
    expect(findings).toEqual([finding]);
    await ended(Number(output));
  });

  test("that ends well leaves nothing running either", async () => {
    const { failure, output } = await run("sleep 100 & echo $!", 10);
    expect(failure).toBe("");
    await ended(Number(output));
  });
});

describe("what others print is understood:", () => {
  test("a JUnit report of bun's", () => {
    const xml = inTemporaryFolder((path) => {
      const [testPath, xmlPath] = [join(path, "some.test.ts"), join(path, "junit.xml")];
      const text = `
        import { describe, expect, test } from "bun:test";
        test("a < b > c & 'd'", () => {});
        describe("group", () => {
          test("fails", () => expect(1).toBe(2));
          // So that the report has one that was skipped.
          test.skip("is skipped", () => {});
        });
      `;
      writeFileSync(testPath, text);
      Bun.spawnSync(
        [process.execPath, "test", testPath, "--reporter=junit", `--reporter-outfile=${xmlPath}`],
        { cwd: path },
      );
      return readFileSync(xmlPath, "utf8");
    });
    expect(parseJunit(xml).map(({ name, outcome }) => [name, outcome])).toEqual([
      ["a < b > c & 'd'", "passed"],
      ["group > fails", "failed"],
      ["group > is skipped", "skipped"],
    ]);
  });

  test("bus addresses of nvidia-smi", () => {
    const named = [
      { pciBusId: "00000000:00:05.0", name: "five", driver: "1" },
      { pciBusId: "00000000:0A:00.0", name: "ten", driver: "1" },
    ];
    expect(namedGpuAt(named, "0000:0a:00.0")).toEqual({ name: "ten", driver: "1" });
    expect(namedGpuAt(named, "0000:0b:00.0").name).toBe("unknown");
    expect(namedGpuAt(named, null).name).toBe("unknown");
  });
});

/** The functions that a C file declares by hand, as bun:ffi would declare them. */
function declaredFunctions(path: string): Record<string, FFIFunction> {
  const typeOf = (parameter: string) => {
    if (parameter.includes("*")) return "ptr";
    if (parameter.startsWith("size_t ")) return "u64";
    return parameter.startsWith("unsigned int ") ? "u32" : "i32";
  };
  const declarations = readFileSync(path, "utf8").matchAll(/ X\((.+?), (cuda\w+), \((.*?)\)\)/g);
  return Object.fromEntries(
    Array.from(declarations, ([, result, name, parameters]) => {
      const args = parameters === "void" ? [] : parameters!.split(", ").map(typeOf);
      return [name!, { args, returns: result === "int" ? "i32" : "cstring" }];
    }),
  );
}

describe.skipIf(cudaIncludeFolder === undefined || cxxCompiler === null)(
  "what the check declares of CUDA is so (skipped without a C++ compiler or CUDA's header)",
  () => {
    const header = "cuda_runtime_api.h";

    test("the tables of bun:ffi", () => {
      const symbols = { ...checkSymbols, ...realSymbols };
      expect(checkCxx(tableCheckSource({ header, symbols }))).toMatchObject({
        success: true,
        messages: "",
      });
    });

    test("cuda_calls.c", () => {
      const symbols = declaredFunctions(join(folder, "steps/speed/cuda_calls.c"));
      expect(Object.keys(symbols)).toHaveLength(14);
      const assertions = [
        "cudaStreamNonBlocking == 1",
        "cudaHostAllocPortable == 1",
        "cudaMemAllocationTypePinned == 1",
        "cudaMemLocationTypeDevice == 1",
        "cudaMemPoolAttrReleaseThreshold == 4",
        "sizeof(cudaMemPoolProps) == 88",
        "offsetof(cudaMemPoolProps, allocType) == 0",
        "offsetof(cudaMemPoolProps, location) == 8",
        "offsetof(cudaMemLocation, type) == 0",
        "offsetof(cudaMemLocation, id) == 4",
      ];
      expect(checkCxx(tableCheckSource({ header, symbols, assertions }))).toMatchObject({
        success: true,
        messages: "",
      });
    });
  },
);
