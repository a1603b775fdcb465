import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { poolLibraryPath, simulatorLibraryPath } from "../../harness/paths.ts";
import { broken, checkOf, kept, skipped } from "../../harness/run/findings.ts";
import type { GpuCheckStep } from "../context.ts";

const libraryPaths = [poolLibraryPath, simulatorLibraryPath];

/** Names the compilers of a library, as they noted themselves there. */
function compilersIn(libraryPath: string): string {
  const text = readFileSync(libraryPath, "latin1");
  return [...new Set(text.match(/(GCC: \([^\0]+|[^\0]*clang version [^\0]+)/g))].join(", ");
}

function versionOf(compiler: string): string {
  const { stdout } = Bun.spawnSync([compiler, "--version"]);
  return /release [^\n]+/.exec(stdout.toString())?.[0] ?? "of an unknown release";
}

export const build: GpuCheckStep = {
  name: "build",
  title: "Build the native libraries anew",
  isAlwaysRun: true,
  async run(context) {
    const start = Date.now();
    const { failure, output } = await context.runOrBreak("make builds the native libraries", {
      argv: ["make", "--always-make", "all"],
      timeoutSeconds: 120,
      // Not as quiet as the make that may have started this: its commands are looked at.
      environment: { BUN: process.execPath, MAKEFLAGS: "" },
    });
    if (failure !== "") return;
    const commands = output.split("\n").filter((line) => line.includes(" -shared "));
    const drivers = new Set(commands.map((command) => command.split(" ")[0]!));
    for (const path of libraryPaths) {
      const isNew = statSync(path).mtimeMs >= start;
      const compilers = compilersIn(path) || "an unknown compiler";
      context.add(checkOf(`${basename(path)} is new`, isNew, `built by ${compilers}`));
    }
    const name = "nvcc drove the compiler";
    const [driver] = drivers;
    const isNvcc = drivers.size === 1 && basename(driver!) === "nvcc";
    if (isNvcc) context.add(kept(name, `${driver}, ${versionOf(driver!)}`));
    else if (Bun.which("nvcc") === null) context.add(skipped(name, "there is no nvcc on the PATH"));
    else context.add(broken(name, `it was ${[...drivers].join(", ") || "nothing"}`));
  },
};
