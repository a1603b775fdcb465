// What is packed on a machine that has not the compilers for every architecture.

import { beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { emptyFolder, repository, run } from "./consumer.ts";

let folder: string;

/** Makes a program of a shell script. */
function makeProgram(name: string, script: string): void {
  const path = join(folder, "programs", name);
  writeFileSync(path, `#!/bin/bash\n${script}\n`);
  chmodSync(path, 0o755);
}

function makeCompiler(triplet: string): void {
  for (const tool of ["gcc", "objdump"]) makeProgram(`${triplet}-linux-gnu-${tool}`, "");
}

/** Runs it with `make` in the place of make, which prints its arguments. */
const prepack = (...args: string[]) =>
  run([join(folder, "packaging/prepack.sh"), ...args], folder, { PATH: join(folder, "programs") });

beforeEach(() => {
  folder = emptyFolder();
  for (const name of ["packaging", "programs", "prebuilt/linux-arm64"]) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  copyFileSync(join(repository, "packaging/prepack.sh"), join(folder, "packaging/prepack.sh"));
  for (const name of ["bash", "env", "dirname", "rm"]) {
    symlinkSync(Bun.which(name, { PATH: "/usr/bin:/bin" })!, join(folder, "programs", name));
  }
  makeProgram("make", 'echo "$@"');
});

test("with all compilers, it is for all architectures", async () => {
  makeCompiler("x86_64");
  makeCompiler("aarch64");
  for (const args of [[], ["--all"]]) {
    const { exitCode, stdout, stderr } = await prepack(...args);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toBe("package RELEASE_FOLDERS=prebuilt/linux-x64 prebuilt/linux-arm64\n");
  }
});

test("without one of them, it is for the others, and says so, and what to install", async () => {
  makeCompiler("x86_64");
  const { exitCode, stdout, stderr } = await prepack();
  expect(exitCode).toBe(0);
  expect(stdout).toBe("package RELEASE_FOLDERS=prebuilt/linux-x64\n");
  expect(stderr).toContain("aarch64-linux-gnu-gcc is not there");
  expect(stderr).toContain("apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross");
  expect(stderr).toContain("the package is for linux-x64 alone");
  expect(existsSync(join(folder, "prebuilt/linux-arm64"))).toBe(false);
});

test("nothing is published, or packed without any, and it says what to install", async () => {
  const none = await prepack();
  expect({ ...none, stderr: "" }).toEqual({ exitCode: 1, stdout: "", stderr: "" });
  expect(none.stderr).toContain("gcc-x86-64-linux-gnu");
  makeCompiler("aarch64");
  const one = await prepack("--all");
  expect({ ...one, stderr: "" }).toEqual({ exitCode: 1, stdout: "", stderr: "" });
  expect(one.stderr).toContain("gcc-x86-64-linux-gnu");
  expect(existsSync(join(folder, "prebuilt/linux-arm64"))).toBe(true);
});
