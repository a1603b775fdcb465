import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { skipped } from "../../../harness/run/findings.ts";
import type { GpuCheckStep } from "../../context.ts";
import { workFolder } from "../../paths.ts";
import { effortOf, rows, sequence } from "../speed/rows.ts";

const programPath = fileURLToPath(new URL("allocators.py", import.meta.url));

export const python: GpuCheckStep = {
  name: "python",
  title: "Time the allocators of PyTorch and CuPy on the same requests",
  async run(context) {
    const interpreter = Bun.which("python3");
    if (interpreter === null) {
      context.add(skipped("PyTorch and CuPy", "there is no python3 on the PATH"));
      return;
    }
    const { places, byteSizes } = sequence;
    const order = {
      deviceId: context.report.gpuMachine!.supportedGpus[0],
      rows,
      effort: effortOf(context.options),
      sequence: { places: [...places], byteSizes: [...byteSizes] },
    };
    const orderPath = join(workFolder, "python.json");
    await Bun.write(orderPath, JSON.stringify(order));
    await context.runOrBreak("the process ends well", {
      argv: [interpreter, programPath, orderPath],
      timeoutSeconds: 120, // PyTorch alone may take half a minute to be imported
    });
  },
};
