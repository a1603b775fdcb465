import { fileURLToPath } from "node:url";
import { checkOf, skipped } from "../../../harness/run/findings.ts";
import { median } from "../../../harness/timing/statistics.ts";
import type { GpuCheckContext, GpuCheckStep } from "../../context.ts";
import { effortOf, type Row, rows } from "./rows.ts";

const measurePath = fileURLToPath(new URL("measure.ts", import.meta.url));

/**
 * Checks that the pool is the fastest: it has no point where the CUDA runtime itself is as fast.
 */
function judge(context: GpuCheckContext, { name }: Row): void {
  const check = `${name}: this pool is faster than the CUDA runtime`;
  if (!context.options.areFiguresJudged) {
    context.add(skipped(check, "figures of a rehearsal, or a quick run, mean nothing"));
    return;
  }
  const [own, ...others] = context.report.figures.filter(({ row }) => row === name);
  const best = Math.min(...others.map(({ rounds }) => median(rounds)));
  const ownMedian = median(own!.rounds);
  context.add(checkOf(check, ownMedian < best, `${ownMedian} ns and ${best} ns`));
}

export const speed: GpuCheckStep = {
  name: "speed",
  title: "Time allocations beside the CUDA runtime's own",
  async run(context) {
    const effort = effortOf(context.options);
    for (const [index, row] of rows.entries()) {
      context.print(`  ${index + 1} of ${rows.length}: ${row.name}`);
      const { failure } = await context.runOrBreak(`${row.name}: the process ends well`, {
        argv: [process.execPath, measurePath, JSON.stringify(row), JSON.stringify(effort)],
        timeoutSeconds: 90,
      });
      if (failure !== "") return;
      judge(context, row);
    }
  },
};
