import { fileURLToPath } from "node:url";
import { orderOfRound } from "../../../harness/timing/rounds.ts";
import type { GpuCheckStep } from "../../context.ts";
import type { StartMessage } from "./start-message.ts";

const programs = ["whole.ts", "apart.ts"].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);

export const startup: GpuCheckStep = {
  name: "startup",
  title: "Time the start of a server with the default pools",
  async run(context) {
    const check = "the process ends well";
    const roundCount = context.options.isQuick ? 2 : 7;
    const figures = new Map<string, number[]>();
    for (let round = 0; round < roundCount; round++) {
      context.print(`  round ${round + 1} of ${roundCount}`);
      for (const program of orderOfRound(programs, round)) {
        const { failure, messages } = await context.runOrBreak<StartMessage>(check, {
          argv: [process.execPath, program],
          timeoutSeconds: 30,
        });
        if (failure !== "") return;
        for (const [name, milliseconds] of Object.entries(messages[0]!.milliseconds)) {
          figures.set(name, [...(figures.get(name) ?? []), milliseconds]);
        }
      }
    }
    for (const [contestant, rounds] of figures) {
      context.add({ kind: "figure", row: "start of a process", contestant, unit: "ms", rounds });
    }
  },
};
