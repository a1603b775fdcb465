import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";

/** Where a CUDA toolkit may be, the likeliest first. */
function toolkitFolders(): string[] {
  const nvcc = Bun.which("nvcc");
  const versioned = existsSync("/usr/local")
    ? readdirSync("/usr/local").filter((name) => name.startsWith("cuda-"))
    : [];
  return [
    process.env["CUDA_HOME"],
    process.env["CUDA_PATH"],
    "/usr/local/cuda",
    ...versioned.toSorted().map((name) => join("/usr/local", name)),
    nvcc === null ? undefined : dirname(dirname(realpathSync(nvcc))),
  ].filter((folder) => folder !== undefined);
}

/** The folder of `cuda_runtime_api.h`, if the machine has one. */
export const cudaIncludeFolder: string | undefined = toolkitFolders()
  .map((folder) => join(folder, "include"))
  .find((folder) => existsSync(join(folder, "cuda_runtime_api.h")));

/** The real CUDA runtime of the toolkit, if the machine has one. */
export const cudartPath: string | undefined = toolkitFolders()
  .flatMap((folder) => [join(folder, "lib64"), join(folder, "lib")])
  .map((folder) => join(folder, "libcudart.so"))
  .find((path) => existsSync(path));

/** `CUDART_VERSION` of the headers: 13000 is CUDA 13.0. */
export function cudaHeaderVersion(includeFolder: string): number {
  const header = readFileSync(join(includeFolder, "cuda_runtime_api.h"), "utf8");
  const version = /#define\s+CUDART_VERSION\s+(\d+)/.exec(header)?.[1];
  if (version === undefined) {
    throw new Error(`no CUDART_VERSION in the cuda_runtime_api.h of ${includeFolder}`);
  }
  return Number(version);
}

export interface CompilerRun {
  readonly success: boolean;
  readonly output: string;
  readonly messages: string;
}

function run(command: readonly string[], input?: string): CompilerRun {
  const { success, stdout, stderr } = Bun.spawnSync([...command], {
    stdin: input === undefined ? "ignore" : Buffer.from(input),
    env: { ...process.env, LC_ALL: "C" },
  });
  return { success, output: stdout.toString(), messages: stderr.toString() };
}

const repository = join(import.meta.dir, "../..");
const includes = [
  `-I${repository}`,
  `-I${join(repository, "simulator")}`,
  "-iquote",
  join(repository, "c"),
  ...(cudaIncludeFolder === undefined ? [] : ["-isystem", cudaIncludeFolder]),
];

export const cCompiler: string | null = Bun.which(process.env["CC"] ?? "cc") ?? Bun.which("gcc");
export const cxxCompiler: string | null =
  Bun.which(process.env["CXX"] ?? "c++") ?? Bun.which("g++");

/** Checks a file as C11, and builds nothing. Paths are relative to the repository's root. */
export function checkC(path: string, options: readonly string[]): CompilerRun {
  const flags = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"];
  return run([String(cCompiler), ...flags, ...includes, ...options, join(repository, path)]);
}

/** What a file is after the preprocessor. */
export function preprocessC(path: string): CompilerRun {
  return run([String(cCompiler), "-E", "-P", ...includes, join(repository, path)]);
}

/** Checks a text as C++17, and builds nothing. */
export function checkCxx(text: string): CompilerRun {
  const flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-xc++"];
  return run([String(cxxCompiler), ...flags, ...includes, "-"], text);
}
