import { fileURLToPath } from "node:url";
import type { GpuCheckStep } from "../../context.ts";

function stepOf(name: string, title: string, program: string): GpuCheckStep {
  return {
    name,
    title,
    async run(context) {
      await context.runOrBreak("the process ends well", {
        argv: [process.execPath, fileURLToPath(new URL(program, import.meta.url))],
        timeoutSeconds: 90,
      });
    },
  };
}

export const faults = stepOf("faults", "Provoke failures that a GPU has", "faults.ts");
export const state = stepOf("state", "Compare the GPUs before and after", "state.ts");
