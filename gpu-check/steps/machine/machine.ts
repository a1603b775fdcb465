import { fileURLToPath } from "node:url";
import { realpathSync } from "node:fs";
import { formatByteSize } from "../../../harness/text/format.ts";
import { poolLibraryPath } from "../../../harness/native/library-paths.ts";
import { broken, kept, type Step, type StepContext } from "../../step.ts";
import type { GpuMachine } from "./probe.ts";

const probePath = fileURLToPath(new URL("probe.ts", import.meta.url));

/** Asks in a process of its own. `null`, and a broken promise, where that fails. */
export async function probe(context: StepContext): Promise<GpuMachine | null> {
  const { failure, answer } = await context.runOrBreak("the CUDA runtime answers", {
    argv: [process.execPath, probePath],
    timeoutSeconds: 60,
  });
  return failure === "" ? (JSON.parse(answer) as GpuMachine) : null;
}

/** 13020 is CUDA 13.2. */
function cudaVersion(version: number): string {
  return `${Math.floor(version / 1000)}.${Math.floor((version % 1000) / 10)}`;
}

export function gpuMachineLines(machine: GpuMachine): string {
  const { cudartPath, runtimeVersion, driverVersion, gpus } = machine;
  const gpuLines = gpus.map(
    ({ deviceId, name, driver, computeCapability, totalByteSize }) =>
      `  GPU ${deviceId}: ${name}, compute capability ${computeCapability.toFixed(1)}, ` +
      `${formatByteSize(totalByteSize)}, driver ${driver}`,
  );
  return [
    ...gpuLines,
    `  CUDA runtime ${cudaVersion(runtimeVersion)}, driver for CUDA ${cudaVersion(driverVersion)}`,
    `  ${cudartPath}`,
  ].join("\n");
}

export const machine: Step = {
  name: "machine",
  title: "Look at the machine",
  isAlwaysRun: true,
  async run(context) {
    const found = await probe(context);
    if (found === null) return;
    context.report.gpuMachine = found;
    console.log(gpuMachineLines(found));
    const { isRehearsal } = context.options;
    const { nativeLibraryPaths, cudartPath, isSimulator, gpus, supportedGpus } = found;
    const require = (name: string, holds: boolean, detail: string) =>
      context.add((holds ? kept : broken)(name, detail));
    require("the native library is the one that was built", nativeLibraryPaths.join() ===
      realpathSync(poolLibraryPath), nativeLibraryPaths.join());
    require(isRehearsal
      ? "the CUDA runtime is the simulator, as was asked"
      : "the CUDA runtime is a real one", isSimulator === isRehearsal, cudartPath);
    require("there is a GPU that can have a pool", supportedGpus.length >
      0, `${supportedGpus.length} of ${gpus.length}`);
  },
};
