// What is in the tarball.

import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { memorySymbols } from "../../src/native/memory-symbols.ts";
import { cudartSymbols, extraCudartSymbols } from "../../src/native/cudart-symbols.ts";
import { simulatorSymbols } from "../../src/native/simulator-symbols.ts";
import { Consumer, libraryName, repository, simulatorName } from "./consumer.ts";

const { packageFolder } = await Consumer.install();

/** `e_machine` of an ELF file. */
const machines = { "linux-x64": 62, "linux-arm64": 183 } as const;

const symbols = {
  [libraryName]: Object.keys(memorySymbols),
  [simulatorName]: Object.keys({ ...cudartSymbols, ...extraCudartSymbols, ...simulatorSymbols }),
};

function runHere(...command: string[]) {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command, { cwd: repository });
  return { exitCode, stdout: stdout.toString(), stderr: stderr.toString() };
}

describe.each(Object.entries(machines))("the libraries for %s", (platform, machine) => {
  const folder = join(packageFolder, "prebuilt", platform);

  test.each(Object.entries(symbols))("%s has all its functions", (name, functions) => {
    const path = join(folder, name);
    expect(readFileSync(path).readUInt16LE(18)).toBe(machine);
    const { stdout } = runHere("objdump", "-T", path);
    const exported = new Set(stdout.match(/(?<= )\w+$/gm));
    expect(functions.filter((symbol) => !exported.has(symbol))).toEqual([]);
  });

  test("load with glibc 2.28", () => {
    const paths = Object.keys(symbols).map((name) => join(folder, name));
    expect(runHere("packaging/check-glibc.sh", "2.28", ...paths)).toMatchObject({ exitCode: 0 });
  });
});

describe("the check for glibc", () => {
  const check = (...args: string[]) => runHere("packaging/check-glibc.sh", ...args);

  test.each(["2.26", "2.9"])("names what needs a version newer than %s", (version) => {
    const { exitCode, stderr } = check(
      version,
      join(packageFolder, "prebuilt/linux-x64", simulatorName),
    );
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`memfd_create needs glibc 2.27, newer than ${version}`);
  });

  test("fails where there is nothing to check", () => {
    expect(check("2.28", "README.md").exitCode).not.toBe(0);
    expect(check("2.28", "nowhere.so").exitCode).not.toBe(0);
  });
});

test("has what a user needs, and nothing of the repository's own", () => {
  const entries = readdirSync(packageFolder).filter((name) => name !== ".bun-tag"); // Bun's
  expect(entries.toSorted()).toEqual([
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "c",
    "dist",
    "package.json",
    "prebuilt",
    "simulator",
    "src",
  ]);
});
