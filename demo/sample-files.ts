import { readdirSync, realpathSync, statSync } from "node:fs";
import { basename, join } from "node:path";

/** A file that is on this machine anyway. */
export interface SampleFile {
  path: string;
  name: string;
  byteSize: number;
}

const fileByteSizeMin = 1e6;
const fileByteSizeMax = 200e6;
const totalByteSizeMax = 500e6;

const nodeModules = join(import.meta.dir, "../node_modules");

function filesIn(folder: string, isWanted: (path: string) => boolean, recursive = false): string[] {
  try {
    return readdirSync(folder, { recursive, encoding: "utf8" })
      .filter(isWanted)
      .map((path) => join(folder, path));
  } catch {
    return []; // not on this machine
  }
}

function cudaLibraries(): string[] {
  const home = process.env["CUDA_HOME"] ?? process.env["CUDA_PATH"] ?? "/usr/local/cuda";
  const isLibrary = (name: string) => /^lib.*\.so\b/.test(name);
  return ["lib64", "nvvm/lib64"].flatMap((folder) => filesIn(join(home, folder), isLibrary));
}

function developmentTools(): string[] {
  return ["typescript", "@typescript", "oxlint", "@oxlint"].flatMap((folder) =>
    filesIn(join(nodeModules, folder), () => true, true),
  );
}

/** Follows links. Returns an empty array for what is not a file of a fitting size. */
function sampleFile(path: string): SampleFile[] {
  try {
    const target = realpathSync(path);
    const stat = statSync(target);
    const fits = stat.size >= fileByteSizeMin && stat.size <= fileByteSizeMax;
    if (!stat.isFile() || !fits) return [];
    return [{ path: target, name: basename(target), byteSize: stat.size }];
  } catch {
    return []; // a link that leads nowhere, or not ours to read
  }
}

/** Finds real files of several megabytes, smallest first, each once, with a bounded total. */
export function findSampleFiles(): SampleFile[] {
  const paths = [
    process.execPath,
    ...developmentTools(),
    ...cudaLibraries(),
    ...[Bun.which("node") ?? []].flat(),
  ];
  const byPath = new Map(paths.flatMap(sampleFile).map((file) => [file.path, file]));
  const sorted = [...byPath.values()].sort((a, b) => a.byteSize - b.byteSize);
  let totalByteSize = 0;
  return sorted.filter(({ byteSize }) => (totalByteSize += byteSize) <= totalByteSizeMax);
}
