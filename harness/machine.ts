import { cpus, release } from "node:os";
import { compilerVersion } from "./native/compile.ts";
import { rootFolder } from "./paths.ts";

/** Where and with what a run was made. */
export interface Machine {
  cpu: string;
  coreCount: number;
  kernel: string;
  bun: string;
  bunPath: string;
  compiler: string;
  /** Of the sources, with a `+` where they were changed since; `""` outside a git repository. */
  gitRevision: string;
  date: string;
}

function git(...argv: string[]): string {
  if (Bun.which("git") === null) return "";
  const { exitCode, stdout } = Bun.spawnSync(["git", ...argv], { cwd: rootFolder });
  return exitCode === 0 ? stdout.toString().trim() : "";
}

export function describeMachine(): Machine {
  const isChanged = git("status", "--porcelain", "--untracked-files=no") !== "";
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    coreCount: cpus().length,
    kernel: release(),
    bun: Bun.version,
    bunPath: process.execPath,
    compiler: compilerVersion("c"),
    gitRevision: git("rev-parse", "--short", "HEAD") + (isChanged ? "+" : ""),
    date: new Date().toISOString(),
  };
}

export function machineLines(machine: Machine): string {
  const { cpu, coreCount, kernel, bun, bunPath, compiler, gitRevision, date } = machine;
  return [
    `  ${cpu}, ${coreCount} cores, Linux ${kernel}`,
    `  Bun ${bun}, ${compiler}, revision ${gitRevision || "unknown"}, ${date}`,
    `  ${bunPath}`,
  ].join("\n");
}
