import { existsSync } from "node:fs";
import { dirname, join, relative } from "node:path";

// `bun scripts/check-c-layers.ts [FOLDER]`: what the C sources of the repository, or of the tree in
// another folder, include. A folder includes only from those that it may know, and no modules include
// each other. A module is a source file and its header together: where two include each other's
// headers, neither can be read or tested without the other.

/**
 * Each folder, and the folders whose headers it may include. Includes are relative to the first part
 * of these paths, c or simulator, and neither may include anything of the other.
 */
const layers: Readonly<Record<string, readonly string[]>> = {
  c: ["c"],
  "c/pool": ["c/pool"],
  "c/cuda": ["c", "c/cuda"],
  "c/memory": ["c", "c/pool", "c/cuda", "c/memory"],
  simulator: ["simulator"],
  ...stack("simulator", ["faults", "process", "memory", "streams", "api"]),
};

/** Folders of which each may include from itself and from all before it. */
function stack(root: string, names: readonly string[]): Record<string, string[]> {
  const folders = names.map((name) => `${root}/${name}`);
  return Object.fromEntries(
    folders.map((folder, index) => [folder, [root, ...folders.slice(0, index + 1)]]),
  );
}

const root = process.argv[2] ?? join(import.meta.dir, "..");

/** What each module includes, by the path of its files without their extension. */
const includedBy = new Map<string, Set<string>>();
const problems: string[] = [];

function moduleOf(file: string): string {
  return file.replace(/\.[ch]$/, "");
}

function checkInclude(file: string, header: string): void {
  const folder = dirname(file);
  const product = file.split("/", 1)[0]!;
  const included = relative(root, join(root, product, header));
  if (!existsSync(join(root, included))) {
    problems.push(`${file}: "${header}" is not a header of ${product}, as seen from there`);
  } else if (!layers[folder]?.includes(dirname(included))) {
    problems.push(`${file}: ${folder} may not include ${included}`);
  } else if (moduleOf(file) !== moduleOf(included)) {
    const modules = includedBy.get(moduleOf(file)) ?? new Set();
    includedBy.set(moduleOf(file), modules.add(moduleOf(included)));
  }
}

async function checkFile(file: string): Promise<number> {
  if (!(dirname(file) in layers))
    problems.push(`${file}: no rule says what its folder may include`);
  const text = await Bun.file(join(root, file)).text();
  const headers = [...text.matchAll(/^\s*#\s*include\s*"([^"]*)"/gm)].map(([, header]) => header!);
  for (const header of headers) checkInclude(file, header);
  return headers.length;
}

/** Modules that lead back to the first of them, or `null`. */
function findCircle(): string[] | null {
  const finished = new Set<string>();
  const visit = (module: string, path: readonly string[]): string[] | null => {
    if (path.includes(module)) return [...path.slice(path.indexOf(module)), module];
    if (finished.has(module)) return null;
    for (const included of includedBy.get(module) ?? []) {
      const circle = visit(included, [...path, module]);
      if (circle !== null) return circle;
    }
    finished.add(module);
    return null;
  };
  for (const module of includedBy.keys()) {
    const circle = visit(module, []);
    if (circle !== null) return circle;
  }
  return null;
}

let includeCount = 0;
for (const file of [...new Bun.Glob("{c,simulator}/**/*.{c,h}").scanSync(root)].toSorted()) {
  includeCount += await checkFile(file);
}
if (includeCount === 0) problems.push("no includes were found");
const circle = findCircle();
if (circle !== null) problems.push(`modules include each other: ${circle.join(" -> ")}`);
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
