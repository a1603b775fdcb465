// Installed from the tarball, on a machine with nothing but Bun.

import { expect, test } from "bun:test";
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
