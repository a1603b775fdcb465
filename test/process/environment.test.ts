// Whose environment decides which CUDA runtime a process has.

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { inTemporaryFolder } from "../support/temporary-folder.ts";

const packagePath = join(import.meta.dir, "../../src/index.ts");

/**
 * Runs a main thread's program, which has `ask()` for the GPUs that it sees and `askWorker(env)` for
 * those that a new Worker with this environment sees. Returns what the program prints: on stdout as
 * it is, on stderr the messages.
 */
function runMain(
  folder: string,
  main: string,
  { env = {}, dotenv = "" }: { env?: Record<string, string>; dotenv?: string } = {},
): { stdout: string; stderr: string } {
  writeFileSync(join(folder, ".env"), dotenv);
  writeFileSync(
    join(folder, "ask.ts"),
    `export const ask = async () => (await import(${JSON.stringify(packagePath)})).getSupportedGpus().join();`,
  );
  writeFileSync(
    join(folder, "worker.ts"),
    `import { ask } from "./ask.ts"; postMessage(await ask());`,
  );
  writeFileSync(
    join(folder, "main.ts"),
    `
      import { ask } from "./ask.ts";
      function askWorker(env) {
        const { promise, resolve, reject } = Promise.withResolvers();
        const worker = new Worker(new URL("worker.ts", import.meta.url), env && { env });
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
        return promise.finally(() => worker.terminate());
      }
      ${main}
    `,
  );
  const { PATH = "" } = process.env;
  const child = Bun.spawnSync([process.execPath, "main.ts"], {
    cwd: folder,
    env: { PATH, CUDART_SIM_DEVICES: "8.0:1048576,9.0:1048576", ...env },
  });
  return { stdout: child.stdout.toString().trim(), stderr: child.stderr.toString().trim() };
}

const simulated = { BUN_CUDA_MEMORY_CUDART: simulatorLibraryPath };
const dotenv = `BUN_CUDA_MEMORY_CUDART=${simulatorLibraryPath}\n`;
const roleAlone = `{ ROLE: "x" }`;

describe("a Worker with an environment of its own that asks first", () => {
  test("finds the runtime of the environment with which the process was started", () => {
    inTemporaryFolder((folder) => {
      const main = `console.log(await askWorker(${roleAlone}), "|", await ask());`;
      const result = runMain(folder, main, { env: simulated });
      expect(result).toEqual({ stdout: "0,1 | 0,1", stderr: "" });
    });
  });

  test.each([
    ["an .env file", "", { dotenv }],
    [
      "an assignment",
      `process.env.BUN_CUDA_MEMORY_CUDART = ${JSON.stringify(simulatorLibraryPath)};`,
      {},
    ],
  ])(
    "finds that of %s, where the main thread has imported the package",
    (_, assignment, options) => {
      inTemporaryFolder((folder) => {
        const main = `
        ${assignment}
        await import(${JSON.stringify(packagePath)});
        console.log(await askWorker(${roleAlone}), "|", await askWorker(), "|", await ask());
      `;
        expect(runMain(folder, main, options)).toEqual({ stdout: "0,1 | 0,1 | 0,1", stderr: "" });
      });
    },
  );

  test("does not silently keep the main thread from what that asks for", () => {
    inTemporaryFolder((folder) => {
      const main = `
        await askWorker(${roleAlone});
        await ask();
      `;
      const { stderr } = runMain(folder, main, { dotenv });
      expect(stderr).toContain("bun-cuda-memory: the process has ");
      expect(stderr).toContain(`this thread finds ${simulatorLibraryPath}`);
      expect(stderr).toContain("BUN_CUDA_MEMORY_CUDART");
    });
  });

  test("does not put a runtime of its own in the place of the process's", () => {
    inTemporaryFolder((folder) => {
      const main = `
        console.log(await askWorker({ BUN_CUDA_MEMORY_CUDART: "/elsewhere.so" }), "|", await ask());
      `;
      const { stdout, stderr } = runMain(folder, main, { env: simulated });
      expect(stdout).toBe("0,1 | 0,1");
      expect(stderr).toContain(`this Worker's BUN_CUDA_MEMORY_CUDART is "/elsewhere.so"`);
    });
  });
});

test("a bundle has nothing of the environment in which it was made", () => {
  const names = ["BUN_CUDA_MEMORY_CUDART", "BUN_CUDA_MEMORY_LIBRARY", "XDG_CACHE_HOME", "CC"];
  names.push("CUDA_HOME", "CUDA_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONUSERBASE");
  const values = Object.fromEntries(names.map((name) => [name, `/of-the-build/${name}`]));
  inTemporaryFolder((folder) => {
    writeFileSync(
      join(folder, "program.ts"),
      `
        import * as memory from ${JSON.stringify(packagePath)};
        import * as simulator from ${JSON.stringify(join(import.meta.dir, "../../src/simulator.ts"))};
        console.log(memory, simulator, process.env.CC);
      `,
    );
    const command = "build program.ts --minify --env inline --target bun --outdir out".split(" ");
    const { exitCode } = Bun.spawnSync([process.execPath, ...command], {
      cwd: folder,
      env: { ...process.env, ...values },
    });
    expect(exitCode).toBe(0);
    const bundle = readFileSync(join(folder, "out/program.js"), "utf8");
    // The program's own is inlined, and nothing of the package's.
    expect(bundle.match(/of-the-build\/\w+/g)).toEqual(["of-the-build/CC"]);
  });
});
