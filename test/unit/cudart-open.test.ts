import { describe, expect, test } from "bun:test";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openBestOf } from "../../src/native/cudart-open.ts";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { logged, resetAfterEach } from "../support/runtime.ts";
import { inTemporaryFolder } from "../support/temporary-folder.ts";

resetAfterEach();

/** Not what the collector has to say of other tests' memories. */
const warnings = () => logged.warn.filter((message) => message.includes("CUDA runtime"));

describe("of the CUDA runtimes that were found", () => {
  test("a broken one, whatever its version, does not stand in the way of a good one", () => {
    inTemporaryFolder((folder) => {
      const broken = join(folder, "libcudart.so.13");
      const good = join(folder, "libcudart.so.12");
      writeFileSync(broken, "no library");
      copyFileSync(simulatorLibraryPath, good);
      expect(openBestOf(["libc.so.6", broken, good])).toMatchObject({ path: good });
      expect(warnings()).toEqual([]);
    });
  });

  test("those that are broken are said where none is left", () => {
    inTemporaryFolder((folder) => {
      const broken = join(folder, "libcudart.so.13");
      writeFileSync(broken, "no library");
      const { reason } = openBestOf([broken]) as { reason: string };
      expect(reason).toContain(`no CUDA runtime that can be loaded (${broken} cannot be loaded: `);
      expect(warnings()).toEqual([`bun-cuda-memory: ${reason}`]);
    });
  });

  test("where there is none, the reason says where it was looked for, and what names one", () => {
    const { reason } = openBestOf([]) as { reason: string };
    expect(reason).toStartWith(
      "no CUDA runtime: libcudart.so.13, libcudart.so.12, libcudart.so.11.0 ",
    );
    for (const place of ["CUDA_HOME", "/usr/local/cuda", "VIRTUAL_ENV", ".venv", "~/.local"]) {
      expect(reason).toContain(place);
    }
    expect(reason).toContain("BUN_CUDA_MEMORY_CUDART can name the library");
  });
});
