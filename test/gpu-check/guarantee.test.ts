// That a guarantee is broken by whatever is left behind.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Check } from "../../harness/run/findings.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";

const folder = join(import.meta.dir, "../../gpu-check");
const environment = {
  BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath,
  CUDART_SIM_DEVICES: "9.0:1073741824,8.0:1073741824",
};

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

describe("a guarantee is broken where something is left behind:", () => {
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
