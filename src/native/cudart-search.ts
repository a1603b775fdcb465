import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";

/** The names under which CUDA 13, 12 and 11 install their runtime; the newest comes first. */
export const cudartSonames = ["libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"] as const;

type Environment = Readonly<Record<string, string | undefined>>;

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // a folder that is absent or may not be read has no library for us
  }
}

/** The folders of one CUDA toolkit that may hold its libraries. */
function toolkitFolders(home: string): string[] {
  const targets = join(home, "targets");
  return [
    join(home, "lib64"),
    join(home, "lib"),
    ...entriesOf(targets).map((target) => join(targets, target, "lib")),
  ];
}

/**
 * The installed toolkits: `/usr/local/cuda`, then `/usr/local/cuda-13.0` and others, newest first.
 */
function installedToolkits(): string[] {
  const numeric = new Intl.Collator("en", { numeric: true });
  return entriesOf("/usr/local")
    .filter((name) => name === "cuda" || /^cuda-[\d.]+$/.test(name))
    .sort((a, b) => (a === "cuda" ? -1 : b === "cuda" ? 1 : numeric.compare(b, a)))
    .map((name) => join("/usr/local", name));
}

/** The folders of NVIDIA's pip wheels inside a Python environment. */
function wheelFolders(environment: string): string[] {
  const lib = join(environment, "lib");
  return entriesOf(lib)
    .filter((name) => name.startsWith("python"))
    .flatMap((python) =>
      ["cu13/lib", "cuda_runtime/lib"].map((folder) =>
        join(lib, python, "site-packages/nvidia", folder),
      ),
    );
}

/** The folders besides the loader's own path that may hold a CUDA runtime, best first. */
function searchFolders(environment: Environment): string[] {
  const set = (...names: string[]) => names.flatMap((name) => environment[name] || []);
  return [
    ...set("CUDA_HOME", "CUDA_PATH").flatMap(toolkitFolders),
    ...installedToolkits().flatMap(toolkitFolders),
    ...set("VIRTUAL_ENV").flatMap(wheelFolders),
    ...set("CONDA_PREFIX").flatMap((prefix) => [join(prefix, "lib"), ...wheelFolders(prefix)]),
  ];
}

/**
 * Absolute paths of the CUDA runtimes of this machine, best first: what the loader finds (among
 * them one that the process has loaded already), then the toolkits, then Python environments.
 *
 * @param loaderPath Tells where the dynamic loader finds a soname; `null` where it finds none.
 */
export function* cudartCandidates(
  environment: Environment,
  loaderPath: (soname: string) => string | null,
): Generator<string> {
  for (const soname of cudartSonames) {
    const path = loaderPath(soname);
    if (path !== null) yield path;
  }
  const folders = searchFolders(environment);
  for (const soname of cudartSonames) {
    for (const folder of folders) {
      const path = join(folder, soname);
      if (existsSync(path)) yield path;
    }
  }
}
