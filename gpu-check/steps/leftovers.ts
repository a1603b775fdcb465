import { checkOf } from "../../harness/run/findings.ts";
import type { GpuCheckStep } from "../context.ts";
import { probe } from "./machine/machine.ts";

/**
 * The change of free memory that is no sign of anything left over. A process that ends takes its
 * memory with it, so only a process can be left over, and the context of one takes hundreds of MiB.
 */
const toleranceByteSize = 64 * 1024 ** 2;

export const leftovers: GpuCheckStep = {
  name: "leftovers",
  title: "Look for what was left behind",
  isAlwaysRun: true,
  async run(context) {
    const before = context.report.gpuMachine!;
    const after = await probe(context);
    for (const { deviceId, freeByteSize } of after?.gpus ?? []) {
      const change = freeByteSize - before.gpus[deviceId]!.freeByteSize;
      const isUnchanged = Math.abs(change) <= toleranceByteSize;
      const detail = `it changed by ${change} bytes since the beginning`;
      context.add(checkOf(`GPU ${deviceId} is as free as before`, isUnchanged, detail));
    }
  },
};
