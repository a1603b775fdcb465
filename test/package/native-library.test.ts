// Which native library an installed package takes, and what it does where there is none.

import { beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  Consumer,
  emptyFolder,
  libraryName,
  libraryOf,
  outputOf,
  pathWithCompiler,
  program,
  run,
  simulated,
  simulatorName,
} from "./consumer.ts";

/** Two Workers import the package, and the main thread does not. Prints the inodes that were loaded. */
const programInWorkersAlone = `
  import { readFileSync } from "node:fs";
  import { isMainThread } from "node:worker_threads";

  async function main() {
    const libraries = [0, 1].map(() => {
      const { promise, resolve } = Promise.withResolvers();
      new Worker(Bun.main).onmessage = ({ data }) => resolve(data);
      return promise;
    });
    await Promise.all(libraries);
    const maps = readFileSync("/proc/self/maps", "utf8");
    const inodes = maps.match(/\\d+(?= +\\S*libbun_cuda_memory\\.so)/g);
    console.log(JSON.stringify([...new Set(inodes)]));
  }

  if (isMainThread) void main();
  else void import("bun-cuda-memory").then(() => postMessage("imported"));
`;

const installed = await Consumer.install();
installed.write({ "program.ts": program });
let consumer: Consumer;

beforeEach(() => {
  consumer = installed.copy();
});

const runProgram = (environment: Record<string, string> = {}) =>
  run(["bun", "program.ts"], consumer.folder, { ...simulated, ...environment });

const libraryWith = async (environment: Record<string, string> = {}) =>
  libraryOf(
    await outputOf(["bun", "program.ts"], consumer.folder, { ...simulated, ...environment }),
  );

/** The message of the error with which the program ends. */
async function failureWith(environment: Record<string, string>): Promise<string> {
  const { exitCode, stdout, stderr } = await runProgram(environment);
  expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
  expect(stderr).toContain('code: "UNAVAILABLE"');
  return /MemoryError: (.*)/.exec(stderr)?.[1] ?? stderr;
}

describe("BUN_CUDA_MEMORY_LIBRARY", () => {
  test("names exactly the library that is loaded", async () => {
    const path = join(emptyFolder(), "another.so");
    copyFileSync(join(consumer.prebuiltFolder, libraryName), path);
    expect(await libraryWith({ BUN_CUDA_MEMORY_LIBRARY: path })).toBe(path);
  });

  test("is an error where it cannot be loaded, whatever else there is", async () => {
    const environment = { BUN_CUDA_MEMORY_LIBRARY: "nowhere.so", PATH: pathWithCompiler };
    const message = await failureWith(environment);
    expect(message).toContain(`BUN_CUDA_MEMORY_LIBRARY names ${consumer.folder}/nowhere.so`);
    expect(message).toContain("cannot be loaded: ");
  });

  test("is an error where it names another library", async () => {
    const path = join(consumer.prebuiltFolder, simulatorName);
    const message = await failureWith({ BUN_CUDA_MEMORY_LIBRARY: path });
    expect(message).toMatch(/_sim\.so, which cannot be loaded: Symbol "\w+" not found/);
  });
});

test("build/ comes before the prebuilt library, as in a checkout", async () => {
  const folder = join(consumer.packageFolder, "build");
  mkdirSync(folder);
  copyFileSync(join(consumer.prebuiltFolder, libraryName), join(folder, libraryName));
  expect(await libraryWith()).toBe(join(folder, libraryName));
});

test("the prebuilt library is taken where the C sources have been deleted", async () => {
  for (const folder of ["c", "simulator"]) {
    rmSync(join(consumer.packageFolder, folder), { recursive: true });
  }
  expect(await libraryWith()).toBe(join(consumer.prebuiltFolder, libraryName));
});

test("where both are gone, it says so", async () => {
  for (const folder of ["c", "prebuilt"]) {
    rmSync(join(consumer.packageFolder, folder), { recursive: true });
  }
  const message = await failureWith({ PATH: pathWithCompiler });
  expect(message).toContain(`${consumer.prebuiltFolder}/${libraryName} is not there`);
  expect(message).toContain("the C sources to build it from are not in");
  expect(message).toContain("Install the whole package");
});

test.each(["src", "dist"])(
  "the files of %s name the prebuilt libraries literally",
  async (name) => {
    const extension = name === "src" ? "ts" : "js";
    for (const [file, library] of [
      ["memory-library", libraryName],
      ["simulator-library", simulatorName],
    ]) {
      const path = join(consumer.packageFolder, name, `native/${file}.${extension}`);
      const urls = readFileSync(path, "utf8").matchAll(/new URL\("([^"]+)", import\.meta\.url\)/g);
      const paths = [...urls].map(([, url]) => join(path, "..", url!));
      expect(paths).toEqual(
        ["x64", "arm64"].map((arch) =>
          join(consumer.packageFolder, `prebuilt/linux-${arch}`, library!),
        ),
      );
      for (const path of paths) expect(existsSync(path)).toBe(true);
    }
  },
);

describe("with no prebuilt library", () => {
  let cache: string;

  beforeEach(() => {
    rmSync(join(consumer.packageFolder, "prebuilt"), { recursive: true });
    cache = emptyFolder();
  });

  /** The libraries in the cache; anything else there has been left over. */
  const cached = () =>
    (readdirSync(join(cache, "bun-cuda-memory"), { recursive: true }) as string[]).toSorted();

  test("processes that start together build one, and later ones take it", async () => {
    const environment = { XDG_CACHE_HOME: cache, PATH: pathWithCompiler };
    const runs = Array.from({ length: 4 }, () => libraryWith(environment));
    const libraries = new Set(await Promise.all(runs));
    expect(libraries.size).toBe(1);
    const [library] = libraries;
    const [folder, path] = cached();
    expect(cached()).toEqual([folder!, `${folder}/${libraryName}`]);
    expect(library).toBe(join(cache, "bun-cuda-memory", path!));
    expect(await libraryWith({ XDG_CACHE_HOME: cache })).toBe(library!); // without a compiler
  });

  test("the threads of a process that start together build and share one", async () => {
    consumer.write({ "program.ts": programInWorkersAlone });
    const environment = { ...simulated, XDG_CACHE_HOME: cache, PATH: pathWithCompiler };
    const output = await outputOf(["bun", "program.ts"], consumer.folder, environment);
    expect(JSON.parse(output)).toHaveLength(1);
    expect(cached()).toHaveLength(2);
  });

  test("a Worker builds it as the process's environment says, whatever its own does", async () => {
    consumer.write({
      "program.ts": programInWorkersAlone.replace("Bun.main)", `Bun.main, { env: { ROLE: "x" } })`),
    });
    const environment = { ...simulated, HOME: cache, PATH: pathWithCompiler };
    const output = await outputOf(["bun", "program.ts"], consumer.folder, environment);
    expect(JSON.parse(output)).toHaveLength(1);
    expect(readdirSync(join(cache, ".cache/bun-cuda-memory"))).toHaveLength(1);
  });

  test("another version's sources are another library", async () => {
    const environment = { XDG_CACHE_HOME: cache, PATH: pathWithCompiler };
    const first = await libraryWith(environment);
    const path = join(consumer.packageFolder, "c/pool/pool.h");
    writeFileSync(path, `${readFileSync(path, "utf8")}\n`);
    expect(await libraryWith(environment)).not.toBe(first);
  });

  test("the simulator is built too", async () => {
    const source = `console.log(require("bun-cuda-memory/simulator").simulatorLibraryPath)`;
    const environment = { XDG_CACHE_HOME: cache, PATH: pathWithCompiler };
    const output = await outputOf(["bun", "-e", source], consumer.folder, environment);
    const path = output.trim();
    expect(path).toStartWith(cache);
    libraryOf(
      await outputOf(["bun", "program.ts"], consumer.folder, {
        ...environment,
        BUN_CUDA_MEMORY_CUDART: path,
      }),
    );
  });

  test("and no compiler, it says what it looked for, where, and what to do", async () => {
    const message = await failureWith({ XDG_CACHE_HOME: cache });
    const { packageFolder, prebuiltFolder } = consumer;
    expect(message).toBe(
      `no native library ${libraryName} for linux-${process.arch}: ` +
        `${packageFolder}/build/${libraryName} is not there; ` +
        `${prebuiltFolder}/${libraryName} is not there; there is no C compiler cc on the PATH. ` +
        "Install a C compiler (cc, or the one that $CC names), or set BUN_CUDA_MEMORY_LIBRARY to " +
        "the library's path.",
    );
  });

  test("and a compiler that fails, it says what the compiler says", async () => {
    const environment = { XDG_CACHE_HOME: cache, PATH: pathWithCompiler, CC: "cc -no-such-option" };
    expect(await failureWith(environment)).toMatch(/cc failed: .*-no-such-option/);
    expect(cached()).toEqual([]);
  });

  test("and no cache folder to be had, it says so, and what helps", async () => {
    for (const environment of [{ XDG_CACHE_HOME: "/dev/null" }, { HOME: "/dev/null" }]) {
      const message = await failureWith({ ...environment, PATH: pathWithCompiler });
      expect(message).toMatch(/it cannot be built in \/dev\/null\/(\.cache\/)?bun-cuda-memory: /);
      expect(message).toContain("Set XDG_CACHE_HOME to a folder that you can write to");
    }
  });

  describe("and one in the cache that is not to be loaded", () => {
    const environment = () => ({ XDG_CACHE_HOME: cache, PATH: pathWithCompiler });
    const plantedCode = join(import.meta.dir, "planted.c");
    let library: string;

    beforeEach(async () => {
      library = await libraryWith(environment());
    });

    /** Puts a library there that ends the process that loads it. */
    function plant(): void {
      const planted = Bun.spawnSync(["cc", "-shared", plantedCode, "-o", library]);
      expect(planted.exitCode).toBe(0);
    }

    test.each<[name: string, damage: () => void]>([
      ["is empty", () => writeFileSync(library, "")],
      ["is cut", () => truncateSync(library, statSync(library).size - 1)],
      ["is cut to a page", () => truncateSync(library, 4096)],
      ["is another", plant],
      [
        "has other bytes",
        () => {
          const bytes = readFileSync(library);
          bytes[5000]! ^= 1;
          writeFileSync(library, bytes);
        },
      ],
      ["is not there", () => rmSync(library)],
      ["others can write to", () => chmodSync(library, 0o777)],
      [
        "is a link",
        () => {
          const elsewhere = join(emptyFolder(), libraryName);
          renameSync(library, elsewhere);
          symlinkSync(elsewhere, library);
        },
      ],
      ["lies in a folder that others can write to", () => chmodSync(join(library, ".."), 0o777)],
    ])("because it %s, it is built anew", async (_, damage) => {
      damage();
      expect(await libraryWith(environment())).toBe(library);
      expect(cached()).toHaveLength(2);
      expect(statSync(library).mode & 0o022).toBe(0);
      expect(await libraryWith({ XDG_CACHE_HOME: cache })).toBe(library); // as it is now
    });

    test.skipIf(process.getuid?.() !== 0)(
      "because it is another user's, it is built anew (skipped unless the user is root)",
      async () => {
        for (const path of [library, join(library, "..")]) {
          chownSync(path, 65534, 65534);
          expect(await libraryWith(environment())).toBe(library);
          expect(statSync(path).uid).toBe(0);
        }
        chownSync(join(cache, "bun-cuda-memory"), 65534, 65534);
        expect(await libraryWith(environment())).toStartWith(join(cache, "bun-cuda-memory-0/"));
      },
    );

    test("because others can write to the whole cache, another folder is taken, or none", async () => {
      chmodSync(join(cache, "bun-cuda-memory"), 0o777);
      const own = join(cache, `bun-cuda-memory-${process.getuid?.()}`);
      expect(await libraryWith(environment())).toStartWith(own);
      chmodSync(own, 0o777);
      const message = await failureWith(environment());
      expect(message).toContain(`other users can write to ${cache}/bun-cuda-memory`);
      expect(message).toContain("XDG_CACHE_HOME");
    });
  });
});
