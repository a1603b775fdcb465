import { describe, expect, test } from "bun:test";
import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cudartCandidates, type SearchOrigin } from "../../src/native/cudart-search.ts";
import { inTemporaryFolder } from "../support/temporary-folder.ts";

function originIn(
  folder: string,
  environment: Readonly<Record<string, string>> = {},
  loaderPath: SearchOrigin["loaderPath"] = () => null,
): SearchOrigin {
  return {
    variable: (name) => environment[name],
    currentFolder: join(folder, "work/project/src"),
    homeFolder: join(folder, "user"),
    loaderPath,
  };
}

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
      const candidates = [...cudartCandidates(originIn(folder, environment, loaderPath))];
      expect(candidates[0]).toBe("/loader/libcudart.so.12");
      expect(candidates.filter((path) => path.startsWith(folder))).toEqual(paths);
    });
  });

  test("finds nothing where there is nothing, without a complaint", () => {
    const environment = { CUDA_HOME: "/nonexistent", CONDA_PREFIX: "" };
    const candidates = [...cudartCandidates(originIn("/nonexistent", environment))];
    expect(candidates.filter((path) => !/^\/(usr|opt)\//.test(path))).toEqual([]);
  });

  test.each([
    "user/.local/lib/python3.12/site-packages/nvidia/cu13/lib/libcudart.so.13",
    "user/.local/lib64/python3.9/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12",
    "user/miniconda3/lib/libcudart.so.12",
    "userbase/lib/python3.12/site-packages/nvidia/cuda_runtime/lib/libcudart.so.11.0",
    "work/project/src/.venv/lib/python3.13/site-packages/nvidia/cu13/lib/libcudart.so.13",
    "work/project/venv/lib/python3.13/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12",
    "work/.venv/lib/python3.13/site-packages/nvidia/cuda_runtime/lib/libcudart.so.12",
    "conda/targets/x86_64-linux/lib/libcudart.so.12",
    "system/lib/python3/dist-packages/nvidia/cuda_runtime/lib/libcudart.so.12",
    "loader/libcudart.so.12",
  ])("finds %s", (path) => {
    inTemporaryFolder((folder) => {
      const environment = {
        PYTHONUSERBASE: join(folder, "userbase"),
        VIRTUAL_ENV: join(folder, "system"),
        CONDA_PREFIX: join(folder, "conda"),
        LD_LIBRARY_PATH: `:relative:${join(folder, "loader")}`,
      };
      const placed = place(join(folder, path));
      expect([...cudartCandidates(originIn(folder, environment))]).toContain(placed);
    });
  });

  test("does not take what anybody may have put there", () => {
    inTemporaryFolder((folder) => {
      place(join(folder, "work/project/src/here"));
      const path = "venv/lib/python3.13/site-packages/nvidia/cu13/lib/libcudart.so.13";
      const placed = place(join(folder, "work", path));
      chmodSync(join(folder, "work"), 0o1777);
      expect([...cudartCandidates(originIn(folder))]).not.toContain(placed);
      chmodSync(join(folder, "work"), 0o755);
      expect([...cudartCandidates(originIn(folder))]).toContain(placed);
    });
  });

  test("names a file once, by whatever paths it is found", () => {
    inTemporaryFolder((folder) => {
      const placed = place(join(folder, "cuda/lib64/libcudart.so.12"));
      symlinkSync("lib64", join(folder, "cuda/lib"));
      const environment = { CUDA_HOME: join(folder, "cuda"), CUDA_PATH: join(folder, "cuda") };
      const candidates = [...cudartCandidates(originIn(folder, environment, () => placed))];
      expect(candidates.filter((path) => path.startsWith(folder))).toEqual([placed]);
    });
  });
});
