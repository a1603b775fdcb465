// Installed from the tarball, on a machine with nothing but Bun.

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import {
  Consumer,
  emptyFolder,
  libraryName,
  libraryOf,
  outputOf,
  program,
  run,
  simulated,
  simulatorName,
} from "./consumer.ts";

const consumer = await Consumer.install();
consumer.write({ "program.ts": program });
const { folder, packageFolder, prebuiltFolder } = consumer;

test("runs in all threads, with the prebuilt library", async () => {
  const output = await outputOf(["bun", "program.ts"], folder, simulated);
  expect(libraryOf(output)).toBe(join(prebuiltFolder, libraryName));
});

test("runs from any folder", async () => {
  libraryOf(await outputOf(["bun", join(folder, "program.ts")], emptyFolder(), simulated));
});

test("runs without a GPU and without a CUDA runtime, and says so", async () => {
  const environment = { BUN_CUDA_MEMORY_CUDART: "/nonexistent" };
  const { exitCode, stdout, stderr } = await run(["bun", "program.ts"], folder, environment);
  expect(exitCode).toBe(0);
  const types = JSON.parse(stdout).threads.map(
    (thread: { memoryType: string }) => thread.memoryType,
  );
  expect(types).toEqual(["CPU", "CPU", "CPU"]);
  expect(stderr).toContain("falling back to non-pinned system memory");
});

test("says what is the matter on another system", async () => {
  const source = `
    Object.defineProperty(process, "platform", { value: "darwin" });
    await import("bun-cuda-memory").catch(({ code, message }) => console.log(code, message));
  `;
  const output = await outputOf(["bun", "-e", source], folder);
  expect(output).toBe("UNAVAILABLE bun-cuda-memory needs Linux, not darwin\n");
});

test("needs a newer Bun before it opens anything, where this one is too old", async () => {
  for (const version of ["1.3.13", "1.3.0-canary.1", "0.8.1"]) {
    for (const name of ["bun-cuda-memory", "bun-cuda-memory/simulator"]) {
      const source = `
        import { readFileSync } from "node:fs";
        Object.defineProperty(process.versions, "bun", { value: ${JSON.stringify(version)} });
        await import("${name}").catch(({ code, message }) => console.log(code, message));
        console.log(readFileSync("/proc/self/maps", "utf8").includes("bun-cuda-memory/"));
      `;
      expect(await outputOf(["bun", "-e", source], folder)).toBe(
        `UNAVAILABLE bun-cuda-memory needs Bun 1.4 or later, this is ${version}\nfalse\n`,
      );
    }
  }
});

describe("Node's condition", () => {
  const node = Bun.which("node", { PATH: process.env["PATH"] ?? "" });
  const modules = {
    "bun-cuda-memory": "AllocatedMemory",
    "bun-cuda-memory/simulator": "CudartSimulator",
  };

  test.skipIf(node === null)("says what is needed (skipped where there is no node)", async () => {
    for (const [name, used] of Object.entries(modules)) {
      for (const source of [
        `import { ${used} } from "${name}"; console.log(${used});`,
        `import * as all from "${name}"; console.log(all);`,
        `import "${name}";`,
        `await import("${name}");`,
      ]) {
        const args = ["--input-type=module", "-e", source];
        const { exitCode, stdout, stderr } = await run([node!, ...args], folder);
        expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" });
        expect(stderr).toContain("Error: bun-cuda-memory needs Bun");
      }
    }
  });

  test("is the package itself under Bun, for which somebody may bundle with it", async () => {
    for (const [name, file] of [
      ["index", "node"],
      ["simulator", "node-simulator"],
    ]) {
      const source = `
        const [dist, node] = await Promise.all([
          import("${packageFolder}/dist/${name}.js"),
          import("${packageFolder}/src/${file}.js"),
        ]);
        const names = Object.keys(dist);
        console.log(JSON.stringify([names.sort(), Object.keys(node).sort()]));
        console.log(names.every((name) => dist[name] === node[name]));
      `;
      const [names, isSame] = (await outputOf(["bun", "-e", source], folder)).trim().split("\n");
      const [ofDist, ofNode] = JSON.parse(names!);
      expect(ofNode).toEqual(ofDist);
      expect(isSame).toBe("true");
    }
  });
});

test("is required as it is imported", async () => {
  const source = `console.log(require("bun-cuda-memory").parseMemoryOptions([]))`;
  expect(await outputOf(["bun", "-e", source], folder)).toBe("{}\n");
});

test("runs as the JavaScript for tools that do not know the condition `bun`", async () => {
  const source = program.replace('"bun-cuda-memory"', `"${packageFolder}/dist/index.js"`);
  consumer.write({ "from-javascript.ts": source });
  libraryOf(await outputOf(["bun", "from-javascript.ts"], folder, simulated));
});

test("tells where the simulator is, and does not load it", async () => {
  consumer.write({
    "simulator.ts": `
      import { readFileSync } from "node:fs";
      import { simulatorLibraryPath } from "bun-cuda-memory/simulator";
      const isLoaded = readFileSync("/proc/self/maps", "utf8").includes(simulatorLibraryPath);
      console.log(JSON.stringify([simulatorLibraryPath, isLoaded]));
    `,
  });
  const output = await outputOf(["bun", "simulator.ts"], folder);
  expect(JSON.parse(output)).toEqual([join(prebuiltFolder, simulatorName), false]);
});

test("needs nothing else at run time", async () => {
  const manifest = await Bun.file(join(packageFolder, "package.json")).json();
  expect(manifest).not.toHaveProperty("dependencies");
  expect(manifest).not.toHaveProperty("scripts.postinstall");
  expect(manifest).not.toHaveProperty("scripts.install");
});
