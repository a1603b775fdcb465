// Which library CudartSimulator controls, and where its variables come from.

import { describe, expect, test } from "bun:test";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { simulatorLibraryPath } from "../../src/native/simulator-library.ts";
import { cudartPath } from "../support/toolkit.ts";
import { inTemporaryFolder } from "../support/temporary-folder.ts";

const source = join(import.meta.dir, "../../src");

/** Runs a program that has the package and CudartSimulator. Returns what it prints. */
function run(
  folder: string,
  program: string,
  env: Record<string, string>,
  dotenv = "",
): { stdout: string; stderr: string } {
  writeFileSync(join(folder, ".env"), dotenv);
  writeFileSync(
    join(folder, "main.ts"),
    `
      import { CudaMemoryManager, getSupportedGpus } from ${JSON.stringify(join(source, "index.ts"))};
      import { CudartSimulator } from ${JSON.stringify(join(source, "simulator.ts"))};
      const caught = (call) => { try { return call(); } catch (error) { return String(error); } };
      ${program}
    `,
  );
  const { PATH = "", HOME = "" } = process.env;
  const child = Bun.spawnSync([process.execPath, "main.ts"], {
    cwd: folder,
    env: { PATH, HOME, ...env },
  });
  return { stdout: child.stdout.toString().trim(), stderr: child.stderr.toString().trim() };
}

const named = (path: string) => ({ BUN_CUDA_MEMORY_CUDART: path });
const failure = `{ function: "cudaMalloc", error: 2 }`;
const create = `caught(() => CudaMemoryManager.create({ memoryPoolByteSize: { 0: 1024 } }))`;
const twoSmall = "8.0:1048576,9.0:1048576";

describe("CudartSimulator", () => {
  test.each([
    ["before", `CudartSimulator.failCall(${failure}); console.log(${create});`],
    ["after", `getSupportedGpus(); CudartSimulator.failCall(${failure}); console.log(${create});`],
  ])("controls another copy that the package uses, %s the package has opened it", (_, program) => {
    inTemporaryFolder((folder) => {
      const copy = join(folder, "libcudart_copy.so");
      copyFileSync(simulatorLibraryPath, copy);
      expect(run(folder, program, named(copy)).stdout).toContain("cudaErrorMemoryAllocation");
    });
  });

  const anything = [
    `failCall(${failure})`,
    "failOperation({ error: 2 })",
    "clearFaults()",
    `callCount("cudaMalloc")`,
    "liveDeviceMemory(0)",
    "liveHostMemory()",
    "liveHandles()",
    "hasContext(0)",
    "setDelay({})",
    "delay()",
  ].map((call) => `console.log(caught(() => CudartSimulator.${call}));`);

  test.skipIf(cudartPath === undefined)("throws where the package uses a real runtime", () => {
    inTemporaryFolder((folder) => {
      for (const before of ["", "getSupportedGpus();"]) {
        const program = before + anything.join("");
        const { stdout } = run(folder, program, named(cudartPath!));
        const lines = stdout.split("\n");
        expect(lines).toHaveLength(anything.length);
        for (const line of lines) {
          expect(line).toContain("CudartSimulator would have no effect: the CUDA runtime of this");
        }
      }
    });
  });

  test("throws where the package has no runtime", () => {
    inTemporaryFolder((folder) => {
      const program = `getSupportedGpus(); ${anything.join("")}`;
      const { stdout } = run(folder, program, named(join(folder, "none.so")));
      const lines = stdout.split("\n");
      expect(lines).toHaveLength(anything.length);
      for (const line of lines) expect(line).toContain("this process has no CUDA runtime");
    });
  });
});

describe("the simulator's variables", () => {
  const print = `console.log(getSupportedGpus().join());`;
  const control = `console.log(caught(() => CudartSimulator.liveDeviceMemory(1).blockCount));`;

  test("are those of an .env file", () => {
    inTemporaryFolder((folder) => {
      const dotenv = `BUN_CUDA_MEMORY_CUDART=${simulatorLibraryPath}\nCUDART_SIM_DEVICES=${twoSmall}\n`;
      expect(run(folder, print, {}, dotenv).stdout).toBe("0,1");
      expect(run(folder, control, {}, dotenv).stdout).toBe("0");
    });
  });

  test("are those that process.env is assigned before the simulator starts", () => {
    inTemporaryFolder((folder) => {
      const env = { ...named(simulatorLibraryPath), CUDART_SIM_DEVICES: "8.0:1048576" };
      const assign = `process.env.CUDART_SIM_DEVICES = "${twoSmall}";`;
      expect(run(folder, assign + print, env).stdout).toBe("0,1");
      expect(run(folder, assign + control, env).stdout).toBe("0");
      const fault = `process.env.CUDART_SIM_FAULTS = "cudaMalloc:1:2"; console.log(${create});`;
      expect(run(folder, fault, env).stdout).toContain("cudaErrorMemoryAllocation");
    });
  });

  test("are an error where they are assigned later", () => {
    inTemporaryFolder((folder) => {
      const env = named(simulatorLibraryPath);
      const assign = `process.env.CUDART_SIM_DEVICES = "${twoSmall}";`;
      const { stdout } = run(folder, `getSupportedGpus(); ${assign} ${control}`, env);
      expect(stdout).toContain(`CUDART_SIM_DEVICES is "${twoSmall}", which comes too late`);
      const { stderr } = run(folder, `CudartSimulator.delay(); ${assign} ${print}`, env);
      expect(stderr).toContain(`CUDART_SIM_DEVICES is "${twoSmall}", which comes too late`);
    });
  });
});
