import { describe, expect, test } from "bun:test";
import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { runWithPackage } from "../support/package.ts";
import { inTemporaryFolder } from "../support/temporary-folder.ts";

describe("the CUDA runtime that a process takes", () => {
  test("the simulator is never used unless it is asked for", () => {
    const runtimes = runWithPackage({}, ({ getSupportedGpus, messagesOf }) => {
      getSupportedGpus();
      return messagesOf("info");
    });
    expect(runtimes.join("\n")).not.toContain("sim");
    expect(runtimes.at(-1)).toMatch(
      /^bun-cuda-memory: (no CUDA runtime|CUDA runtime: .*libcudart\.so)/,
    );
  });

  test("does not look in the current directory", () => {
    inTemporaryFolder((folder) => {
      symlinkSync(simulatorLibraryPath, join(folder, "libcudart.so.13"));
      const program = `
        import { getSupportedGpus } from ${JSON.stringify(join(import.meta.dir, "../../src/index.ts"))};
        console.log(JSON.stringify(getSupportedGpus(99)));
        const maps = await Bun.file("/proc/self/maps").text();
        console.log(maps.includes("libcudart_sim"));
      `;
      const { stdout, stderr } = Bun.spawnSync([process.execPath, "-e", program], {
        cwd: folder,
        env: { ...process.env, BUN_CUDA_MEMORY_CUDART: undefined },
      });
      expect(stderr.toString()).toBe("");
      expect(stdout.toString()).toBe("[]\nfalse\n");
    });
  });
});
