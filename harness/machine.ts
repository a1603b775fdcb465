import { cpus, release } from "node:os";
import { fileURLToPath } from "node:url";
import { compilerVersion } from "./native/compile.ts";
import { simulatorLibraryPath } from "./native/library-paths.ts";

/** Where and with what a benchmark ran. */
export interface Machine {
  cpu: string;
  coreCount: number;
  kernel: string;
  bun: string;
  compiler: string;
  /** Of the sources, with a `+` where they were changed since; `""` outside a git repository. */
  gitRevision: string;
  date: string;
}

function git(...argv: string[]): string {
  if (Bun.which("git") === null) return "";
  const cwd = fileURLToPath(new URL("..", import.meta.url));
  const { exitCode, stdout } = Bun.spawnSync(["git", ...argv], { cwd });
  return exitCode === 0 ? stdout.toString().trim() : "";
}

/** Whether there is no GPU behind the CUDA runtime. */
export function isSimulated(): boolean {
  return process.env["BUN_CUDA_MEMORY_CUDART"] === simulatorLibraryPath;
}

export function describeMachine(): Machine {
  const isChanged = git("status", "--porcelain", "--untracked-files=no") !== "";
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    coreCount: cpus().length,
    kernel: release(),
    bun: Bun.version,
    compiler: compilerVersion("c"),
    gitRevision: git("rev-parse", "--short", "HEAD") + (isChanged ? "+" : ""),
    date: new Date().toISOString(),
  };
}
