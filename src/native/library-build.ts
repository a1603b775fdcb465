import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { processVariable } from "./environment.ts";
import { platformName } from "./platform.ts";

/** Says why a library could not be built. */
export class BuildError extends Error {}

/** The user's cache folder. The XDG Base Directory Specification has a relative path ignored. */
function cacheFolder(): string {
  const folder = processVariable("XDG_CACHE_HOME") ?? "";
  return isAbsolute(folder) ? folder : join(homedir(), ".cache");
}

/** A name for what is built of these files on this platform. Machines may share a home folder. */
function buildName(paths: readonly string[]): string {
  const hash = new Bun.CryptoHasher("sha256");
  hash.update(platformName());
  for (const path of paths) hash.update("\0").update(readFileSync(path));
  return hash.digest("hex").slice(0, 16);
}

function compile(
  optionsPath: string,
  includeFolder: string,
  sourcePaths: readonly string[],
  outputPath: string,
): void {
  const command = (processVariable("CC") || "cc").split(/\s+/);
  const compiler = Bun.which(command[0]!);
  if (compiler === null) throw new BuildError(`there is no C compiler ${command[0]} on the PATH`);
  const { success, stderr } = Bun.spawnSync([
    compiler,
    ...command.slice(1),
    "-shared",
    `@${optionsPath}`,
    "-iquote",
    includeFolder,
    ...sourcePaths,
    "-ldl",
    "-lpthread",
    "-o",
    outputPath,
  ]);
  if (!success) throw new BuildError(`${compiler} failed: ${stderr.toString().trim()}`);
}

/**
 * Builds a library with the user's C compiler, `$CC` or `cc`, in the user's cache folder, unless it
 * has been built there before. Returns its path.
 *
 * Any number of processes and Workers may do so at the same time. Each compiles in a folder of its
 * own, and the first to rename that to the common name wins: a folder is never replaced, so all
 * Workers of a process load the same file and share its pools.
 *
 * @param sourceFolder The folder of the library's C sources, all of which are compiled. Their
 * includes are relative to it.
 * @param optionsPath The compiler's options, in a file.
 * @throws {BuildError} Where it cannot be built.
 */
export function buildLibrary(fileName: string, sourceFolder: string, optionsPath: string): string {
  const pathsOf = (extension: string) =>
    readdirSync(sourceFolder, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(extension))
      .toSorted()
      .map((name) => join(sourceFolder, name));
  const sourcePaths = pathsOf(".c");
  const parent = join(cacheFolder(), "bun-cuda-memory");
  const folder = join(parent, buildName([optionsPath, ...sourcePaths, ...pathsOf(".h")]));
  const path = join(folder, fileName);
  if (existsSync(path)) return path;

  let ownFolder: string | undefined;
  try {
    mkdirSync(parent, { recursive: true });
    ownFolder = mkdtempSync(`${folder}.`);
    compile(optionsPath, sourceFolder, sourcePaths, join(ownFolder, fileName));
    renameSync(ownFolder, folder);
  } catch (error) {
    // Another process or thread may have been faster.
    if (existsSync(path)) return path;
    if (error instanceof BuildError) throw error;
    throw new BuildError(`it cannot be built in ${parent}: ${(error as Error).message}`);
  } finally {
    if (ownFolder !== undefined) rmSync(ownFolder, { recursive: true, force: true });
  }
  return path;
}
