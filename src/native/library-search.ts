import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { MemoryError } from "../memory-error.ts";
import { processVariable } from "./environment.ts";
import { BuildError, buildLibrary } from "./library-build.ts";
import { platformName, unsupportedPlatform } from "./platform.ts";

/** One of the package's native libraries. */
export interface NativeLibrary {
  readonly fileName: string;
  /** The folder of its C sources, inside the package's folder. */
  readonly sourceFolder: string;
  /** The environment variable that can name another library to be used in its place. */
  readonly overrideVariable?: string;
  /** The package's library for each platform that it is prebuilt for. */
  readonly prebuilt: Readonly<Record<string, URL>>;
  /** In a bundle, the places where the bundler put the files of this library for this platform. */
  readonly bundled: () => readonly URL[];
}

/** The package's folder; `null` in a bundle, whose place says nothing of where the package is. */
function packageFolder(): string | null {
  const path = fileURLToPath(import.meta.url);
  // A bundle is elsewhere, or has the place that this file had where the bundle was made.
  const isOwnFile = /\/(src|dist)\/native\/library-search\.[jt]s$/.test(path) && existsSync(path);
  if (!isOwnFile) return null;
  return fileURLToPath(new URL("../../", import.meta.url));
}

const pathOf = (url: URL | undefined) => (url === undefined ? null : fileURLToPath(url));

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
  const { fileName, sourceFolder, overrideVariable, prebuilt, bundled } = library;
  const unsupported = unsupportedPlatform();
  if (unsupported !== null) throw new MemoryError("UNAVAILABLE", unsupported);
  const override = overrideVariable && processVariable(overrideVariable);
  if (override) return resolve(override);

  const folder = packageFolder();
  const platform = platformName();
  const candidates =
    folder === null
      ? bundled().map((url) => fileURLToPath(url))
      : [join(folder, "build", fileName), pathOf(prebuilt[platform])].filter(
          (path) => path !== null,
        );
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
  const optionsPath = join(folder, "c/cc-options");
  if (!existsSync(optionsPath) || !existsSync(join(folder, sourceFolder))) {
    throw unavailable(
      `the C sources to build it from are not in ${folder} either`,
      "Install the whole package",
    );
  }
  try {
    return buildLibrary(fileName, join(folder, sourceFolder), optionsPath);
  } catch (error) {
    if (!(error instanceof BuildError)) throw error;
    throw unavailable(error.message, error.advice);
  }
}
