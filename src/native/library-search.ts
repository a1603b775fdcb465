import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { MemoryError } from "../memory-error.ts";
import { processVariable } from "./environment.ts";
import { BuildError, buildLibrary } from "./library-build.ts";
import { platformName } from "./platform.ts";

/** One of the package's native libraries. */
export interface NativeLibrary {
  readonly fileName: string;
  /** The folder of its C sources, inside the package's folder. */
  readonly sourceFolder: string;
  /** The environment variable that can name another library to be used in its place. */
  readonly overrideVariable?: string;
  /** In a bundle, the places where the bundler put the files of this library for this platform. */
  readonly bundled: () => readonly URL[];
}

/** The package's folder; `null` in a bundle, whose place says nothing of where the package is. */
function packageFolder(): string | null {
  const folder = fileURLToPath(new URL("../../", import.meta.url));
  return existsSync(join(folder, "c/bun_cuda_memory.h")) ? folder : null;
}

/**
 * Returns the absolute path of a native library, which is the first that there is of these:
 *
 * 1. the file that the library's environment variable names, and then no other,
 * 2. `build/` in a checkout, which is at least as new as whatever else a developer has,
 * 3. the prebuilt one of the package, or the one that a bundler took along,
 * 4. one built from the package's C sources in the user's cache folder.
 *
 * @throws {MemoryError} `UNAVAILABLE` where there is none, with the places that were tried.
 */
export function findLibrary(library: NativeLibrary): string {
  const { fileName, sourceFolder, overrideVariable, bundled } = library;
  if (process.platform !== "linux") {
    throw new MemoryError("UNAVAILABLE", `bun-cuda-memory needs Linux, not ${process.platform}`);
  }
  const override = overrideVariable && processVariable(overrideVariable);
  if (override) return resolve(override);

  const folder = packageFolder();
  const platform = platformName();
  const candidates =
    folder === null
      ? bundled().map((url) => fileURLToPath(url))
      : [join(folder, "build", fileName), join(folder, "prebuilt", platform, fileName)];
  const found = candidates.find((path) => existsSync(path));
  if (found !== undefined) return found;

  const missing = candidates.map((path) => `${path} is not there; `).join("");
  const orOverride = overrideVariable ? `, or set ${overrideVariable} to the library's path` : "";
  const unavailable = (reason: string, advice: string) =>
    new MemoryError(
      "UNAVAILABLE",
      `no native library ${fileName} for ${platform}: ${missing}${reason}. ${advice}${orOverride}.`,
    );
  if (folder === null) {
    throw unavailable(
      "a bundle has no C sources to build it from",
      "Bundle with the package's libraries in place, and move them together with the bundle",
    );
  }
  try {
    return buildLibrary(fileName, join(folder, sourceFolder), join(folder, "c/cc-options"));
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    throw unavailable(error.message, "Install a C compiler (cc, or the one that $CC names)");
  }
}
