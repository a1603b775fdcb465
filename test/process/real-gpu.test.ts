// Runs the tests of test/behaviour on this machine's GPUs as well, where it has any.

import { expect, test } from "bun:test";
import { join } from "node:path";
import { runWithPackage } from "../support/package.ts";

const isSimulated = process.env["BUN_CUDA_MEMORY_TEST_RUNTIME"] !== "real";
const gpus = isSimulated ? runWithPackage({}, ({ getSupportedGpus }) => getSupportedGpus()) : [];

test.skipIf(gpus.length === 0)(
  `the behavioural suite on ${gpus.length} real GPUs (skipped where there is none)`,
  () => {
    const { exitCode, stderr } = Bun.spawnSync(
      [process.execPath, "test", join(import.meta.dir, "../behaviour")],
      {
        cwd: join(import.meta.dir, "../.."),
        env: {
          ...process.env,
          BUN_CUDA_MEMORY_CUDART: undefined,
          BUN_CUDA_MEMORY_TEST_RUNTIME: "real",
        },
      },
    );
    expect(stderr.toString()).not.toContain("(fail)");
    expect(exitCode).toBe(0);
  },
  300_000,
);
