// Somebody's own project, in an empty folder, into which the packed package is installed.

import { expect } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const repository: string = fileURLToPath(new URL("../../", import.meta.url));

/** What `make test-package` has packed. */
export const tarballPath: string = (() => {
  const folder = join(repository, "build/tarball");
  const [name, ...more] = readdirSync(folder).filter((entry) => entry.endsWith(".tgz"));
  if (name === undefined || more.length > 0) throw new Error(`not one tarball in ${folder}`);
  return join(folder, name);
})();

export interface Exit {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * An empty folder outside the repository, so that nothing of the repository is found from there.
 * `make test-package` removes it.
 */
export function emptyFolder(): string {
  return mkdtempSync(join(tmpdir(), "bun-cuda-memory-"));
}

/** The PATH of a machine with Bun alone: no compiler, no make, no node. */
const bunOnlyPath = emptyFolder();
symlinkSync(process.execPath, join(bunOnlyPath, "bun"));

/** The PATH of a machine on which there is a compiler. */
export const pathWithCompiler = `${bunOnlyPath}:${process.env["PATH"]}`;

export const simulatorName = "libcudart_sim.so";
export const libraryName = "libbun_cuda_memory.so";

/** Runs a command with just Bun on the PATH, an empty home folder, and this environment. */
export async function run(
  command: readonly string[],
  cwd: string,
  environment: Environment = {},
): Promise<Exit> {
  const [program, ...args] = command;
  const child = Bun.spawn([program === "bun" ? process.execPath : program!, ...args], {
    cwd,
    env: {
      PATH: bunOnlyPath,
      HOME: emptyFolder(),
      BUN_ENABLE_CRASH_REPORTING: "0",
      ...environment,
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { exitCode, stdout, stderr };
}

/** What a command printed, which must have ended well. */
export async function outputOf(...args: Parameters<typeof run>): Promise<string> {
  const { exitCode, stdout, stderr } = await run(...args);
  if (exitCode !== 0) {
    throw new Error(`${args[0].join(" ")} ended with ${exitCode}:\n${stdout}${stderr}`);
  }
  return stdout;
}

/** A project that depends on the package, and on nothing else. */
export class Consumer {
  readonly folder: string;
  readonly packageFolder: string;
  /** The package's libraries for this machine. */
  readonly prebuiltFolder: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.packageFolder = join(folder, "node_modules/bun-cuda-memory");
    this.prebuiltFolder = join(this.packageFolder, `prebuilt/linux-${process.arch}`);
  }

  static async install(): Promise<Consumer> {
    const folder = emptyFolder();
    writeFileSync(join(folder, "package.json"), "{}\n");
    await outputOf(["bun", "add", tarballPath], folder);
    return new Consumer(folder);
  }

  /** Another one just like it, whose package may be damaged. */
  copy(): Consumer {
    const folder = emptyFolder();
    cpSync(this.folder, folder, { recursive: true });
    return new Consumer(folder);
  }

  write(files: Readonly<Record<string, string>>): void {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(dirname(join(this.folder, name)), { recursive: true });
      writeFileSync(join(this.folder, name), text);
    }
  }
}

/** The environment in which a process uses the simulator; a copy of it, which nothing moves. */
export const simulated: Environment = {
  BUN_CUDA_MEMORY_CUDART: join(repository, "build", simulatorName),
};

/** What the {@link program} prints. */
export interface ProgramResult {
  readonly threads: readonly { readonly memoryType: string; readonly sum: number }[];
  /** The files that were loaded beside the system's and the CUDA runtime, also if replaced since. */
  readonly libraries: readonly string[];
}

/**
 * A program that moves bytes through GPU memory in the main thread and in two Workers, and prints
 * what came of it, and which files it loaded as native library: one, if all threads share its pools.
 */
export const program = `
  import { AllocatedMemory, createMemoryManagers } from "bun-cuda-memory";
  import { readFileSync } from "node:fs";
  import { isMainThread } from "node:worker_threads";

  function moveBytes() {
    using memory = new AllocatedMemory(512, "GPU", 0);
    memory.write(new Uint8Array(512).fill(7));
    const bytes = new Uint8Array(512);
    memory.read(bytes);
    return { memoryType: memory.memoryType, sum: bytes.reduce((sum, byte) => sum + byte, 0) };
  }

  function moveBytesInWorker() {
    const { promise, resolve, reject } = Promise.withResolvers();
    const worker = new Worker(Bun.main);
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    return promise;
  }

  async function main() {
    using managers = createMemoryManagers();
    const inWorkers = await Promise.all([moveBytesInWorker(), moveBytesInWorker()]);
    const threads = [moveBytes(), ...inWorkers];
    const files = readFileSync("/proc/self/maps", "utf8").match(/\\/\\S+\\.so( .deleted.)?$/gm) ?? [];
    const libraries = new Set(files.filter((path) => !/^\\/(usr|lib)|cudart/.test(path)));
    console.log(JSON.stringify({ threads, libraries: [...libraries] }));
  }

  if (isMainThread) void main();
  else postMessage(moveBytes());
`;

/** Checks that the program worked on the simulator. Returns the file of the native library. */
export function libraryOf(output: string): string {
  const { threads, libraries } = JSON.parse(output) as ProgramResult;
  const thread = { memoryType: "GPU", sum: 7 * 512 };
  expect(threads).toEqual([thread, thread, thread]);
  expect(libraries).toHaveLength(1);
  return libraries[0]!;
}
