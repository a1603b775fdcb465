// Bundles and executables that somebody makes of a program that uses the package, with the package
// gone from where it was and no compiler.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Consumer, emptyFolder, libraryOf, outputOf, program, run, simulated } from "./consumer.ts";

const installed = await Consumer.install();
installed.write({ "program.ts": program });

/** Builds in a project that is gone afterwards. Returns the folder to which the result was moved. */
async function built(...args: string[]): Promise<string> {
  const consumer = installed.copy();
  await outputOf(["bun", "build", ...args], consumer.folder);
  const folder = join(emptyFolder(), "elsewhere");
  renameSync(join(consumer.folder, "out"), folder);
  rmSync(consumer.folder, { recursive: true });
  return folder;
}

describe.each([
  ["an executable", []],
  ["a minified executable with bytecode", ["--minify", "--bytecode"]],
])("%s", (_, options) => {
  test("brings the library, which all its threads share", async () => {
    const folder = await built("program.ts", "--compile", ...options, "--outfile", "out/program");
    expect(readdirSync(folder)).toEqual(["program"]);
    const temporary = emptyFolder();
    const environment = { ...simulated, TMPDIR: temporary };
    const output = await outputOf([join(folder, "program")], "/", environment);
    expect(libraryOf(output)).toStartWith(temporary);
  });
});

test("an executable that cannot unpack the library says so", async () => {
  const folder = await built("program.ts", "--compile", "--outfile", "out/program");
  const environment = { ...simulated, TMPDIR: "/dev/null" };
  const { exitCode, stderr } = await run([join(folder, "program")], "/", environment);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/MemoryError: the native library \/\$bunfs\/.* cannot be loaded/);
  expect(stderr).toContain("TMPDIR");
});

test.each([
  ["a bundle", ["program.ts"], "program.js"],
  ["a minified bundle", ["program.ts", "--minify"], "program.js"],
  ["a bundle in several files", ["a/program.ts", "b/other.ts", "--splitting"], "a/program.js"],
])("%s has the library beside it", async (_, args, path) => {
  installed.write({
    "a/program.ts": program,
    "b/other.ts": `
      import { simulatorLibraryPath } from "bun-cuda-memory/simulator";
      console.log(simulatorLibraryPath);
    `,
  });
  const folder = await built(...args, "--target", "bun", "--outdir", "out");
  const output = await outputOf(["bun", join(folder, path)], "/", simulated);
  const library = libraryOf(output);
  expect(library).toStartWith(`${folder}/`);
  if (args.includes("--splitting")) {
    const simulator = await outputOf(["bun", join(folder, "b/other.js")], "/");
    expect(existsSync(simulator.trim())).toBe(true);
  }
});

test("a bundle without its library says what is missing", async () => {
  const folder = await built("program.ts", "--target", "bun", "--outdir", "out");
  for (const name of readdirSync(folder)) if (name.endsWith(".so")) rmSync(join(folder, name));
  const { exitCode, stderr } = await run(["bun", "program.js"], folder, simulated);
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/libbun_cuda_memory-\w+\.so is not there; a bundle has no C sources/);
});

test("nothing is bundled of a package that is not used", async () => {
  installed.write({ "unused.ts": `import "bun-cuda-memory";\nconsole.log("unused");\n` });
  const folder = await built("unused.ts", "--target", "bun", "--outdir", "out");
  expect(readdirSync(folder)).toEqual(["unused.js"]);
  expect(await Bun.file(join(folder, "unused.js")).text()).not.toContain("dlopen");
});
