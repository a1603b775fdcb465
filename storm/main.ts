import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Child, killGroupsOnExit } from "../harness/child/child.ts";
import { simulatorEnvironment } from "../harness/cuda-runtime.ts";
import { runMain } from "../harness/run/program-main.ts";
import { endingNames } from "./endings.ts";
import { Board } from "./events.ts";
import type { StormMessage } from "./messages.ts";
import { operationNames, sabotageNames } from "./operations/table.ts";
import { commandOf, readStormOptions, type StormOptions } from "./options.ts";
import { type FailureMessage, failureText } from "./report.ts";
import { simulatedDevices } from "./round.ts";

// `make storm`: random operations of every kind on several Workers, on the simulator, for as long
// as one likes. Its environment says how: any value that is none prints which there are.
//
// The storm blows in a child process, because it may crash or hang. It ends with 0 where all was
// right, with 1 where something was not, and with 2 where it was not called properly.

/** How the storm's process has ended: `""` where it did well. */
interface Ending {
  readonly text: string;
  readonly failure: FailureMessage | null;
  readonly log: string;
}

async function blow(options: StormOptions, board: Board, boardPath: string): Promise<Ending> {
  const log: string[] = [];
  let failure: FailureMessage | null = null;
  let stalled = "";
  const program = {
    argv: [
      process.execPath,
      join(import.meta.dir, "process.ts"),
      boardPath,
      JSON.stringify(options),
    ],
    // Some crash on purpose, and none is to be reported to Bun.
    environment: { ...simulatorEnvironment(simulatedDevices), BUN_ENABLE_CRASH_REPORTING: "0" },
    hasOwnGroup: true,
  };
  const child = new Child<StormMessage>(program, {
    onMessage: (message) => {
      if (message.kind !== "failure") return;
      failure = message;
      child.kill();
    },
    onLog: (line) => void log.push(line),
  });
  const timer = setTimeout(() => board.endTime(), options.seconds * 1000);
  const watchdog = watch(board, options.stallSeconds, () => {
    stalled = `no event in ${options.stallSeconds} s`;
    child.kill();
  });
  const ending = await child.ended;
  clearTimeout(timer);
  clearInterval(watchdog);
  return { text: stalled || ending, failure, log: log.join("\n") };
}

/** Calls back once there has been no event for so long. */
function watch(board: Board, seconds: number, onStall: () => void): NodeJS.Timeout {
  let last = -1;
  let idleSeconds = 0;
  return setInterval(() => {
    const count = board.eventCount;
    idleSeconds = count === last ? idleSeconds + 1 : 0;
    last = count;
    if (idleSeconds === seconds) onStall();
  }, 1000);
}

async function main(): Promise<void> {
  const options = readStormOptions([...operationNames, ...endingNames], sabotageNames);
  killGroupsOnExit();
  const boardPath = join(tmpdir(), `storm-${process.pid}`);
  const board = Board.create(boardPath);
  try {
    console.log(`a storm: ${commandOf(options, options.firstRound)}`);
    const { text, failure, log } = await blow(options, board, boardPath);
    if (log !== "") console.log(log);
    if (text !== "" || failure !== null || board.eventCount === 0) {
      console.log(failureText(options, board, text, failure));
      process.exitCode = 1;
    } else {
      const rounds = board.round - options.firstRound + 1;
      console.log(`${board.eventCount} events in ${rounds} rounds, digest ${board.digest}`);
    }
  } finally {
    rmSync(boardPath, { force: true });
  }
}

await runMain("storm", main);
