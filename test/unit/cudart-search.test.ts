import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { cudartCandidates } from "../../src/native/cudart-search.ts";
import { inTemporaryFolder } from "../support/temporary-folder.ts";

describe("the search for a CUDA runtime", () => {
  function place(path: string): string {
    Bun.spawnSync(["mkdir", "-p", join(path, "..")]);
    writeFileSync(path, "");
    return path;
  }

  test("takes what the loader finds first, then folders, the newest CUDA first", () => {
    inTemporaryFolder((folder) => {
      const paths = [
        place(join(folder, "home/lib64/libcudart.so.13")),
        place(join(folder, "home/targets/sbsa-linux/lib/libcudart.so.13")),
        place(join(folder, "conda/lib/libcudart.so.13")),
        place(join(folder, "conda/lib/python3.12/site-packages/nvidia/cu13/lib/libcudart.so.13")),
        place(join(folder, "path/lib/libcudart.so.12")),
        place(
          join(folder, "venv/lib/python3.9/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12"),
        ),
        place(join(folder, "path/lib/libcudart.so.11.0")),
      ];
      const environment = {
        CUDA_HOME: join(folder, "home"),
        CUDA_PATH: join(folder, "path"),
        VIRTUAL_ENV: join(folder, "venv"),
        CONDA_PREFIX: join(folder, "conda"),
      };
      const loaderPath = (soname: string) =>
        soname === "libcudart.so.12" ? "/loader/libcudart.so.12" : null;
      const candidates = [...cudartCandidates(environment, loaderPath)];
      expect(candidates[0]).toBe("/loader/libcudart.so.12");
      expect(candidates.filter((path) => path.startsWith(folder))).toEqual(paths);
    });
  });

  test("finds nothing where there is nothing, without a complaint", () => {
    const environment = { CUDA_HOME: "/nonexistent", CONDA_PREFIX: "" };
    const candidates = [...cudartCandidates(environment, () => null)];
    expect(candidates.filter((path) => !path.startsWith("/usr/local/cuda"))).toEqual([]);
  });
});
