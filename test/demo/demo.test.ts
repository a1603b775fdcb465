import { describe, expect, test } from "bun:test";
import { join } from "node:path";

const demo = join(import.meta.dir, "../../demo/main.ts");
const log = "Thread,Time,Action,Pointer,Size,Stream\n";

interface Run {
  exitCode: number | null;
  stdout: string;
  stderr: string;
}

function run(argv: string[], environment: Record<string, string | undefined> = {}): Run {
  const child = Bun.spawnSync([process.execPath, demo, ...argv], {
    env: { ...process.env, ...environment },
  });
  return {
    exitCode: child.exitCode,
    stdout: child.stdout.toString(),
    stderr: child.stderr.toString(),
  };
}

/** Runs with a trace of this content, in a file that is removed again. */
async function runWithTrace(content: string, environment?: Record<string, string | undefined>) {
  const path = join(process.env["TMPDIR"] ?? "/tmp", `demo-${process.pid}-${Math.random()}.csv`);
  await Bun.write(path, content);
  try {
    return { path, ...run(["--trace", path], environment) };
  } finally {
    await Bun.file(path).delete();
  }
}

describe("the demo", () => {
  test("refuses a trace that is not there, or malformed, in one line", async () => {
    const absent = run(["--trace", "/absent.csv"]);
    expect([absent.exitCode, absent.stdout]).toEqual([2, ""]);
    expect(absent.stderr).toMatch(/^demo failed: \/absent\.csv: cannot be read: .*\n$/);

    const malformed = await runWithTrace(`${log}1,0,allocate,0x1,ten,0\n`);
    expect([malformed.exitCode, malformed.stdout]).toEqual([2, ""]);
    expect(malformed.stderr).toBe(
      `demo failed: ${malformed.path}:2: "ten" is not a size in bytes\n`,
    );
  });

  test("refuses options that it does not know", () => {
    for (const argv of [["--trce", "x"], ["x"], ["--trace"]]) {
      const { exitCode, stdout, stderr } = run(argv);
      expect([exitCode, stdout]).toEqual([2, ""]);
      expect(stderr).toContain("usage: bun demo/main.ts [--trace FILE]");
    }
  });

  test("fails where CUDA does", async () => {
    const { exitCode, stderr } = await runWithTrace(log, {
      CUDART_SIM_FAULTS: "cudaMemcpyAsync:2:cudaErrorUnknown",
    });
    expect(exitCode).toBe(1);
    expect(stderr).toContain("demo failed: POST identity: 500 ");
    expect(stderr).toContain("cudaErrorUnknown");
  });

  test("finds a runtime by itself, and shows files and trace", async () => {
    // 50 MiB fit the default pool of 64 MiB once, but not twice.
    const trace = `${log}1,0,allocate,0x1,52428800,0\n1,0,allocate,0x2,52428800,0\n`;
    const { path, exitCode, stdout, stderr } = await runWithTrace(trace, {
      BUN_CUDA_MEMORY_CUDART: undefined,
      CUDART_SIM_DEVICES: undefined,
    });
    expect(stderr).toBe("");
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/CUDA runtime: .*, supported GPUs: 0/);
    expect(stdout).toMatch(/^ {2}fallback: \d+ bytes of .* -> pinned system memory$/m);
    expect(stdout).toContain(" 200, the same bytes ");
    expect(stdout).toContain(" 413, over its limit");
    expect(stdout).not.toContain("DIFFERENT");
    expect(stdout).toMatch(/2,000 small requests of two tenants, 32 at once: [\d,]+ per second/);
    expect(stdout).toContain("all accounts: 0 bytes in use");
    expect(stdout).toMatch(/64\.0 MiB \(default\) +1 +1 +0 +0 +50\.0 %/);
    expect(stdout).toMatch(/100\.0 MiB \(fits\) +2 +0 +0 +0 +0\.0 %/);
    for (const line of stdout.split("\n")) {
      // The paths of the CUDA runtime and of the trace are as long as they are.
      const hasPath = line.includes("CUDA runtime: ") || line.includes(path);
      if (!hasPath) expect(line.length).toBeLessThanOrEqual(100);
    }
  }, 60_000);
});
