import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { isSealed, privateFolder, publish, seal } from "./build-cache.ts";
import { homeFolder, processVariable } from "./environment.ts";
import { platformName } from "./platform.ts";

/** Says why a library could not be built, and what helps. */
export class BuildError extends Error {
  readonly advice: string;

  constructor(message: string, advice: string) {
    super(message);
    this.advice = advice;
  }
}

const compilerAdvice = "Install a C compiler (cc, or the one that $CC names)";
const cacheAdvice = "Set XDG_CACHE_HOME to a folder that you can write to";

/** The user's cache folder. The XDG Base Directory Specification has a relative path ignored. */
function cacheFolder(): string {
  const folder = processVariable("XDG_CACHE_HOME") ?? "";
  return isAbsolute(folder) ? folder : join(homeFolder(), ".cache");
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
  const compiler = Bun.which(command[0]!, { PATH: processVariable("PATH") ?? "" });
  if (compiler === null) {
    throw new BuildError(`there is no C compiler ${command[0]} on the PATH`, compilerAdvice);
  }
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
  if (!success) {
    throw new BuildError(`${compiler} failed: ${stderr.toString().trim()}`, compilerAdvice);
  }
}

/**
 * Builds a library with the user's C compiler, `$CC` or `cc`, in the user's cache folder, unless it
 * has been built there before. Returns its path.
 *
 * Any number of processes and Workers may do so at the same time. Each compiles in a folder of its
 * own, and the first to rename that to the common name wins: a folder is never replaced, so all
 * Workers of a process load the same file and share its pools. What was put there by somebody else,
 * or is not whole, is built anew.
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
  const name = buildName([optionsPath, ...sourcePaths, ...pathsOf(".h")]);
  const cache = join(cacheFolder(), "bun-cuda-memory");
  let path: string | undefined;
  let ownFolder: string | undefined;
  try {
    const parent = privateFolder(cache);
    const folder = join(parent, name);
    path = join(folder, fileName);
    if (isSealed(path)) return path;
    ownFolder = mkdtempSync(`${folder}.`);
    chmodSync(ownFolder, 0o755); // a user to whom root gives its cache may read it
    const ownPath = join(ownFolder, fileName);
    compile(optionsPath, sourceFolder, sourcePaths, ownPath);
    seal(ownPath);
    publish(ownFolder, folder, fileName);
  } catch (error) {
    // Another process or thread may have been faster.
    if (path !== undefined && isSealed(path)) return path;
    if (error instanceof BuildError) throw error;
    throw new BuildError(
      `it cannot be built in ${cache}: ${(error as Error).message}`,
      cacheAdvice,
    );
  } finally {
    if (ownFolder !== undefined) rmSync(ownFolder, { recursive: true, force: true });
  }
  return path;
}
