import { fileURLToPath } from "node:url";
import { orderOfRound } from "../../../harness/timing/rounds.ts";
import type { Step } from "../../step.ts";

const programs = ["whole.ts", "apart.ts"].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);

export const startup: Step = {
  name: "startup",
  title: "Time the start of a server with the default pools",
  async run(context) {
    const roundCount = context.options.isQuick ? 2 : 7;
    const figures = new Map<string, number[]>();
    for (let round = 0; round < roundCount; round++) {
      console.log(`  round ${round + 1} of ${roundCount}`);
      for (const program of orderOfRound(programs, round)) {
        const { failure, answer } = await context.runOrBreak("the process ends well", {
          argv: [process.execPath, program],
          timeoutSeconds: 30,
        });
        if (failure !== "") return;
        const measured = JSON.parse(answer) as Record<string, number>;
        for (const [name, milliseconds] of Object.entries(measured)) {
          figures.set(name, [...(figures.get(name) ?? []), milliseconds]);
        }
      }
    }
    for (const [contestant, rounds] of figures) {
      context.add({ kind: "figure", row: "start of a process", contestant, unit: "ms", rounds });
    }
  },
};
