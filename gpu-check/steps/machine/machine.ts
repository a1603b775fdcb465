import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { poolLibraryPath } from "../../../harness/paths.ts";
import { checkOf } from "../../../harness/run/findings.ts";
import { formatByteSize } from "../../../harness/text/format.ts";
import type { GpuCheckContext, GpuCheckStep } from "../../context.ts";
import type { GpuMachine, MachineMessage } from "./probe.ts";

const probePath = fileURLToPath(new URL("probe.ts", import.meta.url));

/** Asks the CUDA runtime in a child process. `null`, with a broken check, where that fails. */
export async function probe(context: GpuCheckContext): Promise<GpuMachine | null> {
  const { failure, messages } = await context.runOrBreak<MachineMessage>(
    "the CUDA runtime answers",
    {
      argv: [process.execPath, probePath],
      timeoutSeconds: 60,
    },
  );
  return failure === "" ? messages[0]!.machine : null;
}

/** Formats a version of CUDA: 13020 is CUDA 13.2. */
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

export const machine: GpuCheckStep = {
  name: "machine",
  title: "Look at the machine",
  isAlwaysRun: true,
  async run(context) {
    const found = await probe(context);
    if (found === null) return;
    context.report.gpuMachine = found;
    context.print(gpuMachineLines(found));
    const { isRehearsal } = context.options;
    const { nativeLibraryPaths, cudartPath, isSimulator, gpus, supportedGpus } = found;
    context.add(
      checkOf(
        "the native library is the one that was built",
        nativeLibraryPaths.join() === realpathSync(poolLibraryPath),
        nativeLibraryPaths.join(),
      ),
      checkOf(
        isRehearsal
          ? "the CUDA runtime is the simulator, as was asked"
          : "the CUDA runtime is a real one",
        isSimulator === isRehearsal,
        cudartPath,
      ),
      checkOf(
        "there is a GPU that can have a pool",
        supportedGpus.length > 0,
        `${supportedGpus.length} of ${gpus.length}`,
      ),
    );
  },
};
