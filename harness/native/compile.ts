import { existsSync, mkdirSync, renameSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { rootFolder } from "../paths.ts";

const targetFolder = join(rootFolder, "build/bench");

/** Thrown where there is no compiler, or the compiler refuses a source. */
export class CompileError extends Error {
  override readonly name = "CompileError";
}

const languages = {
  c: { variable: "CC", compiler: "cc", flags: ["-std=c11", "-D_GNU_SOURCE"] },
  cpp: { variable: "CXX", compiler: "c++", flags: ["-std=c++17"] },
} as const;

const includeFolders = [join(rootFolder, "c"), rootFolder];
const commonFlags = [
  ...includeFolders.map((folder) => `-I${folder}`),
  "-O2",
  "-g",
  "-pthread",
  "-Wall",
  "-Wextra",
  "-Werror",
];

type Language = keyof typeof languages;

export function compilerOf(language: Language): string {
  return process.env[languages[language].variable] || languages[language].compiler;
}

/** Returns the compiler's name and version, as it says them itself. */
export function compilerVersion(language: Language): string {
  const path = Bun.which(compilerOf(language));
  if (path === null) return "none";
  return Bun.spawnSync([path, "--version"]).stdout.toString().split("\n")[0]!;
}

function isNewer(target: string, sources: readonly string[]): boolean {
  if (!existsSync(target)) return false;
  const builtAt = statSync(target).mtimeMs;
  return sources.every((source) => statSync(source).mtimeMs < builtAt);
}

/**
 * Compiles into build/bench where the sources are newer.
 *
 * @param target A file name there.
 * @param sources Paths from the repository's root: sources of one language, and every header of the
 * repository that they include.
 */
function compile(target: string, sources: readonly string[], kindFlags: string[]): string {
  const targetPath = join(targetFolder, target);
  const paths = sources.map((source) => join(rootFolder, source));
  if (isNewer(targetPath, [...paths, import.meta.path])) return targetPath;
  const language = sources[0]!.endsWith(".cpp") ? "cpp" : "c";
  const compiler = compilerOf(language);
  if (Bun.which(compiler) === null) throw new CompileError(`there is no compiler ${compiler}`);
  mkdirSync(targetFolder, { recursive: true });
  // The file is moved into place when it is whole, since another benchmark may be starting.
  const partPath = `${targetPath}.${process.pid}`;
  const { exitCode, stderr } = Bun.spawnSync([
    compiler,
    ...languages[language].flags,
    ...commonFlags,
    ...kindFlags,
    ...paths.filter((path) => !path.endsWith(".h")),
    "-o",
    partPath,
    "-ldl",
  ]);
  if (exitCode !== 0) throw new CompileError(`${basename(compiler)} failed:\n${stderr}`);
  renameSync(partPath, targetPath);
  return targetPath;
}

/** Builds build/bench/NAME.so where its sources are newer. Returns its path. */
export function compileLibrary(name: string, sources: readonly string[]): string {
  return compile(`${name}.so`, sources, ["-shared", "-fPIC"]);
}

/** Builds build/bench/NAME, whose functions the libraries that it loads find before libc's. */
export function compileProgram(name: string, sources: readonly string[]): string {
  return compile(name, sources, ["-rdynamic"]);
}
