import { existsSync, readdirSync, realpathSync, statSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";

/** The names under which CUDA 13, 12 and 11 install their runtime; the newest comes first. */
export const cudartSonames = ["libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"] as const;

/** What the search looks at, for messages. */
export const searchedPlaces =
  "the dynamic loader's path, CUDA's toolkits (CUDA_HOME, CUDA_PATH, /usr/local/cuda*, /opt/cuda*), " +
  "and the Python environments (VIRTUAL_ENV, CONDA_PREFIX, .venv and venv in the current folder and " +
  "above it, ~/.local, the system's)";

/** Where a search begins. */
export interface SearchOrigin {
  /** Reads a variable of the environment. */
  readonly variable: (name: string) => string | undefined;
  readonly currentFolder: string;
  readonly homeFolder: string;
  /** Tells where the dynamic loader finds a soname; `null` where it finds none. */
  readonly loaderPath: (soname: string) => string | null;
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // a folder that is absent or may not be read has no library for us
  }
}

/** The folders of one CUDA toolkit that may hold its libraries; Conda has the same ones. */
function toolkitFolders(home: string): string[] {
  const targets = join(home, "targets");
  return [
    join(home, "lib64"),
    join(home, "lib"),
    ...entriesOf(targets).map((target) => join(targets, target, "lib")),
  ];
}

const numeric = new Intl.Collator("en", { numeric: true });

/** The installed toolkits of a folder: `cuda`, then `cuda-13.0` and others, newest first. */
function toolkitsIn(folder: string): string[] {
  return entriesOf(folder)
    .filter((name) => name === "cuda" || /^cuda-[\d.]+$/.test(name))
    .sort((a, b) => (a === "cuda" ? -1 : b === "cuda" ? 1 : numeric.compare(b, a)))
    .map((name) => join(folder, name));
}

/** The folders of NVIDIA's pip wheels inside a Python environment, newest Python first. */
function wheelFolders(environment: string): string[] {
  return ["lib", "lib64"].flatMap((lib) =>
    entriesOf(join(environment, lib))
      .filter((name) => name.startsWith("python"))
      .sort((a, b) => numeric.compare(b, a))
      .flatMap((python) =>
        // Debian's Python has its packages under another name.
        ["site-packages", "dist-packages"].flatMap((packages) =>
          ["cu13/lib", "cuda_runtime/lib"].map((folder) =>
            join(environment, lib, python, packages, "nvidia", folder),
          ),
        ),
      ),
  );
}

const condaFolders = (prefix: string) => [...toolkitFolders(prefix), ...wheelFolders(prefix)];

/** A folder, the one that it is in, and so on up to the root. */
function withParents(folder: string): string[] {
  const parent = dirname(folder);
  return parent === folder ? [folder] : [folder, ...withParents(parent)];
}

/** Whether anybody may put something into a folder, as into /tmp. */
function isWritableByOthers(folder: string): boolean {
  try {
    return (statSync(folder).mode & 0o002) !== 0;
  } catch {
    return true; // it cannot be told
  }
}

/** The folders besides the loader's own path that may hold a CUDA runtime, best first. */
function searchFolders({ variable, currentFolder, homeFolder }: SearchOrigin): string[] {
  const set = (...names: string[]) => names.flatMap((name) => variable(name) || []);
  const loaderFolders = set("LD_LIBRARY_PATH").flatMap((paths) => paths.split(":"));
  const projectEnvironments = withParents(currentFolder)
    .filter((folder) => !isWritableByOthers(folder))
    .flatMap((folder) => [join(folder, ".venv"), join(folder, "venv")]);
  return [
    // What the loader has passed over there can then be mentioned.
    ...loaderFolders.filter((folder) => isAbsolute(folder)),
    ...set("CUDA_HOME", "CUDA_PATH").flatMap(toolkitFolders),
    ...["/usr/local", "/opt"].flatMap(toolkitsIn).flatMap(toolkitFolders),
    ...set("VIRTUAL_ENV").flatMap(wheelFolders),
    ...set("CONDA_PREFIX").flatMap(condaFolders),
    ...projectEnvironments.flatMap(wheelFolders),
    ...[...set("PYTHONUSERBASE"), join(homeFolder, ".local")].flatMap(wheelFolders),
    ...["/usr/local", "/usr"].flatMap(wheelFolders),
    ...["miniconda3", "miniforge3", "anaconda3"].flatMap((name) =>
      condaFolders(join(homeFolder, name)),
    ),
    ...condaFolders("/opt/conda"),
  ];
}

/** The paths as they are found, without the files that have been found before by another path. */
function* withoutRepetition(paths: Iterable<string>): Generator<string> {
  const seen = new Set<string>();
  for (const path of paths) {
    const file = existsSync(path) ? realpathSync(path) : path;
    if (seen.has(file)) continue;
    seen.add(file);
    yield path;
  }
}

function* allCandidates(origin: SearchOrigin): Generator<string> {
  for (const soname of cudartSonames) {
    const path = origin.loaderPath(soname);
    if (path !== null) yield path;
  }
  const folders = searchFolders(origin);
  for (const soname of cudartSonames) {
    for (const folder of folders) {
      const path = join(folder, soname);
      if (existsSync(path)) yield path;
    }
  }
}

/**
 * Absolute paths of the CUDA runtimes of this machine, best first: what the loader finds (among
 * them one that the process has loaded already), then the toolkits, then Python environments.
 */
export function cudartCandidates(origin: SearchOrigin): Generator<string> {
  return withoutRepetition(allCandidates(origin));
}
