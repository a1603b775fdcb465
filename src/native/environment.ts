import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { getEnvironmentData, isMainThread, setEnvironmentData } from "node:worker_threads";

// What is chosen once for all threads has to be chosen by the environment of the process: a Worker
// may have been given another one, and be the first to ask. Its process.env says nothing of the
// process's then, while getenv() and /proc say nothing of Bun's .env files.

/** The variables that choose the package's libraries. */
const variableNames = ["BUN_CUDA_MEMORY_CUDART", "BUN_CUDA_MEMORY_LIBRARY"] as const;

/** Where the main thread leaves its values of them for Workers that are made later. */
const sharedKey = "bun-cuda-memory environment";

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * A variable of the calling thread's environment. A bundler that takes over the environment of the
 * machine that it runs on finds no `process.env.NAME` here to put a value in the place of.
 */
export function ownVariable(name: string): string | undefined {
  return Reflect.get(process.env, name) as string | undefined;
}

/** The environment with which the process was started; `null` where the system does not tell. */
function initialVariables(): Variables | null {
  try {
    const lines = readFileSync("/proc/self/environ", "utf8").split("\0");
    return Object.fromEntries(
      lines.map((line) => [line.split("=", 1)[0]!, line.replace(/^[^=]*=/, "")]),
    );
  } catch {
    return null;
  }
}

/** What a Worker knows of the process's environment. */
let known: Variables | undefined;

/**
 * A variable of the process's environment: the main thread's, which `.env` files and assignments are
 * part of, where it has imported this package; in a Worker otherwise that with which the process was
 * started, and what only the Worker's own has.
 */
export function processVariable(name: string): string | undefined {
  if (isMainThread) return ownVariable(name);
  const shared = getEnvironmentData(sharedKey) as Variables | undefined;
  if (shared !== undefined && (variableNames as readonly string[]).includes(name))
    return shared[name];
  known ??= initialVariables() ?? {};
  return known[name] ?? ownVariable(name);
}

/** The user's home folder. */
export function homeFolder(): string {
  return processVariable("HOME") || homedir();
}

/** Leaves the main thread's choice of libraries for the Workers that it makes. */
export function shareVariables(): void {
  if (!isMainThread) return;
  setEnvironmentData(
    sharedKey,
    Object.fromEntries(variableNames.map((name) => [name, ownVariable(name)])),
  );
}
